"""DM²: runs that learn from demonstrations, by the discriminators' reward alone or mixed with the task's."""


rule train_dm2:
    input:
        settings="results/{scale}/runs/{map_name}/{condition}/seed-{seed}/settings.yaml",
        demonstrations=demonstrations_of,
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
        condition=alternatives(MATRIX.conditions_with_demonstrations),
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(3072),
        runtime=training_minutes,
    params:
        run=lambda wildcards, output: Path(output.record).parent,
        code=training_code,
    shell:
        "exec python -m dm2.scripts.train --settings {input.settings:q} --demonstrations {input.demonstrations:q}"
        " --run-directory {params.run:q} --fresh-if-changed --threads {threads} > {log:q} 2>&1"
