"""Runs that need no demonstrations: baselines, self-imitation, and the experts that demonstrations are sampled from."""


localrules:
    write_settings_of_run,


rule write_settings_of_run:
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


rule train_without_demonstrations:
    input:
        settings="results/{scale}/runs/{map_name}/{condition}/seed-{seed}/settings.yaml",
    output:
        metrics="results/{scale}/runs/{map_name}/{condition}/seed-{seed}/metrics.csv",
        record="results/{scale}/runs/{map_name}/{condition}/seed-{seed}/run.json",
        policies=expand(
            "results/{{scale}}/runs/{{map_name}}/{{condition}}/seed-{{seed}}/policies/{percent}.safetensors",
            percent=PERCENTS,
        ),
    log:
        "results/{scale}/logs/train/{map_name}/{condition}/seed-{seed}.log",
    benchmark:
        "results/{scale}/benchmarks/train/{map_name}/{condition}/seed-{seed}.tsv"
    wildcard_constraints:
        condition=alternatives(MATRIX.conditions_without_demonstrations),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(3072),
        runtime=training_minutes,
    params:
        run_directory=subpath(output.record, parent=True),
        demonstrations=[],
        code=training_code,
    shell:
        "exec python -m dm2.scripts.train --settings {input.settings:q} --run-directory {params.run_directory:q} {params.demonstrations:q} --fresh-if-changed --threads {threads} > {log:q} 2>&1"
