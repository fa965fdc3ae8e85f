"""DM²: runs that learn from demonstrations, by the discriminators' reward alone or mixed with the task's."""

for name, seeds, conditions, map_names in training_jobs(
    "train_dm2", MATRIX.conditions_with_demonstrations
):

    rule:
        name:
            name
        input:
            settings=expand(
                "results/{{scale}}/runs/{{map_name}}/{{condition}}/seed-{seed}/settings.yaml",
                seed=seeds,
            ),
            demonstrations=demonstrations_of,
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
            "exec python -m dm2.scripts.train {params.runs:q} --demonstrations {input.demonstrations:q} --fresh-if-changed --device {resources.device} --threads {threads} > {log:q} 2>&1"
