"""Tables: all that figures and claims are made from; small enough to be committed."""


rule aggregate_runs:
    input:
        metrics=[f"{run.directory(SCALE)}/metrics.csv" for run in MATRIX.learners],
        settings=[f"{run.directory(SCALE)}/settings.yaml" for run in MATRIX.learners],
        records=[f"{run.directory(SCALE)}/run.json" for run in MATRIX.learners],
    output:
        curves="results/{scale}/learning_curves.csv",
        summary=report(
            "results/{scale}/summary.csv",
            caption="../report/summary.rst",
            category="Tables",
        ),
        records="results/{scale}/records.jsonl",
    log:
        "results/{scale}/logs/aggregate_runs.log",
    benchmark:
        "results/{scale}/benchmarks/aggregate_runs.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1024),
        runtime=growing(10),
    params:
        runs=[run.directory(SCALE) for run in MATRIX.learners],
        code=showing_code("dm2.scripts.aggregate_runs"),
    shell:
        "python -m dm2.scripts.aggregate_runs --curves {output.curves:q} --summary {output.summary:q}"
        " --records {output.records:q} {params.runs:q} > {log:q} 2>&1"


rule aggregate_demonstrations:
    input:
        settings=[f"{run.directory(SCALE)}/settings.yaml" for run in MATRIX.learners],
        archives=[
            f"results/{SCALE}/demonstrations/{map_name}/{name}.npz"
            for map_name, name in MATRIX.demonstrations
        ],
    output:
        report(
            "results/{scale}/demonstrations.csv",
            caption="../report/demonstrations.rst",
            category="Tables",
        ),
    log:
        "results/{scale}/logs/aggregate_demonstrations.log",
    benchmark:
        "results/{scale}/benchmarks/aggregate_demonstrations.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1024),
        runtime=growing(10),
    params:
        runs=[run.directory(SCALE) for run in MATRIX.learners],
        code=showing_code("dm2.scripts.aggregate_demonstrations"),
    shell:
        "python -m dm2.scripts.aggregate_demonstrations --output {output:q} {params.runs:q} > {log:q} 2>&1"


rule judge_claims:
    input:
        curves="results/{scale}/learning_curves.csv",
        demonstrations="results/{scale}/demonstrations.csv",
        paper_curves=PAPER_CURVES,
        paper_demonstrations=PAPER_DEMONSTRATIONS,
    output:
        table=report(
            "results/{scale}/claims.csv",
            caption="../report/claims.rst",
            category="Tables",
        ),
        markdown="results/{scale}/claims.md",
    log:
        "results/{scale}/logs/judge_claims.log",
    benchmark:
        "results/{scale}/benchmarks/judge_claims.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1024),
        runtime=growing(10),
    params:
        code=showing_code("dm2.scripts.judge_claims"),
    shell:
        "python -m dm2.scripts.judge_claims --curves {input.curves:q} --demonstrations {input.demonstrations:q}"
        " --paper-curves {input.paper_curves:q} --paper-demonstrations {input.paper_demonstrations:q}"
        " --output {output.table:q} --markdown {output.markdown:q} > {log:q} 2>&1"
