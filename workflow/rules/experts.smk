"""Runs that need no demonstrations: baselines, self-imitation, and the experts that demonstrations are sampled from."""


localrules:
    write_run_settings,


rule write_run_settings:
    output:
        "results/{scale}/runs/{map_name}/{condition}/seed-{seed}/settings.yaml",
    log:
        "results/{scale}/logs/settings/{map_name}/{condition}/seed-{seed}.log",
    conda:
        "../../environment.yml"
    params:
        settings=lambda wildcards: settings_of(wildcards).model_dump_json(
            exclude_none=True
        ),
    shell:
        "python -m dm2.scripts.write_settings --kind run --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"


for name, seeds, conditions, map_names in training_jobs(
    "train_expert", MATRIX.conditions_without_demonstrations
):

    rule:
        name:
            name
        input:
            settings=expand(
                "results/{{scale}}/runs/{{map_name}}/{{condition}}/seed-{seed}/settings.yaml",
                seed=seeds,
            ),
        output:
            metrics=expand(
                "results/{{scale}}/runs/{{map_name}}/{{condition}}/seed-{seed}/metrics.csv",
                seed=seeds,
            ),
            record=expand(
                "results/{{scale}}/runs/{{map_name}}/{{condition}}/seed-{seed}/run.json",
                seed=seeds,
            ),
            policies=expand(
                "results/{{scale}}/runs/{{map_name}}/{{condition}}/seed-{seed}/policies/{percent}.safetensors",
                seed=seeds,
                percent=PERCENTS,
            ),
        log:
            expand(
                "results/{{scale}}/logs/train/{{map_name}}/{{condition}}/seed-{seeds}.log",
                seeds="-".join(map(str, seeds)),
            ),
        benchmark:
            expand(
                "results/{{scale}}/benchmarks/train/{{map_name}}/{{condition}}/seed-{seeds}.tsv",
                seeds="-".join(map(str, seeds)),
            )[0]
        wildcard_constraints:
            condition=alternatives(conditions),
            map_name=alternatives(map_names),
        conda:
            "../../environment.yml"
        threads: 1
        resources:
            device=MATRIX.scale.device,
            mem_mb=growing(3072 * len(seeds)),
            runtime=training_minutes,
        params:
            runs=run_options,
            code=training_code,
        shell:
            "exec python -m dm2.scripts.train {params.runs:q} --fresh-if-changed --device {resources.device} --threads {threads} > {log:q} 2>&1"
