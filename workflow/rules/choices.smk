"""Experts: of a condition's runs on a map the one that wins most in the end.

Its policies are kept beside the choice: small enough to be committed, so that what learns from demonstrations can be
trained anew without its experts. Where they are there, runs that are not are left alone. What is kept does not read the
choice's file: of two files of a clone either may be the younger, and the policies would be out of date.
"""


rule choose_expert:
    input:
        metrics=candidate_files("metrics.csv"),
        settings=candidate_files("settings.yaml"),
        records=candidate_files("run.json"),
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


rule keep_expert:
    input:
        metrics=candidate_files("metrics.csv"),
        settings=candidate_files("settings.yaml"),
        records=candidate_files("run.json"),
        policies=candidate_policies,
    output:
        "results/{scale}/experts/{map_name}/{expert}/{percent}.safetensors",
    log:
        "results/{scale}/logs/keep/{map_name}/{expert}/{percent}.log",
    benchmark:
        "results/{scale}/benchmarks/keep/{map_name}/{expert}/{percent}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1024),
        runtime=growing(10),
    params:
        runs=candidates_of,
        code=code_digest("dm2.scripts.keep_expert"),
    shell:
        "python -m dm2.scripts.keep_expert --percent {wildcards.percent} --output {output:q} {params.runs:q}"
        " > {log:q} 2>&1"
