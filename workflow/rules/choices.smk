"""Experts: of a condition's runs on a map the one that wins most in the end."""


rule choose_expert:
    input:
        metrics=candidate_files("metrics.csv"),
        settings=candidate_files("settings.yaml"),
    output:
        "results/{scale}/experts/{map_name}/{expert}.yaml",
    log:
        "results/{scale}/logs/choose/{map_name}/{expert}.log",
    benchmark:
        "results/{scale}/benchmarks/choose/{map_name}/{expert}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1024),
        runtime=growing(10),
    params:
        runs=candidates_of,
        code=code_digest("dm2.scripts.choose_expert"),
    shell:
        "python -m dm2.scripts.choose_expert --output {output:q} {params.runs:q} > {log:q} 2>&1"
