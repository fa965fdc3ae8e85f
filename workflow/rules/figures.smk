"""Figures, from tables alone: PDF, PNG and the table that was drawn."""


rule draw_figure:
    input:
        curves="results/{scale}/learning_curves.csv",
        demonstrations="results/{scale}/demonstrations.csv",
        paper_curves=PAPER_CURVES,
        experiments=EXPERIMENTS,
    output:
        pdf="figures/{scale}/{figure}.pdf",
        png=report(
            "figures/{scale}/{figure}.png",
            caption="../report/figure.rst",
            category="Figures",
            labels={"figure": "{figure}"},
        ),
        table="figures/{scale}/{figure}.csv",
    log:
        "results/{scale}/logs/figures/{figure}.log",
    benchmark:
        "results/{scale}/benchmarks/figures/{figure}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1024),
        runtime=growing(10),
    params:
        stem=lambda wildcards, output: Path(output.pdf).with_suffix(""),
        config_folder=lambda wildcards, input: Path(input.experiments).parent,
        configuration=json.dumps(config, sort_keys=True),
        code=showing_code("dm2.scripts.draw_figure"),
    shell:
        "python -m dm2.scripts.draw_figure {wildcards.figure:q} --curves {input.curves:q}"
        " --demonstrations {input.demonstrations:q} --paper-curves {input.paper_curves:q} --stem {params.stem:q}"
        " --config-folder {params.config_folder:q} --configuration {params.configuration:q} > {log:q} 2>&1"


rule write_report:
    input:
        summary="results/{scale}/summary.csv",
        demonstrations="results/{scale}/demonstrations.csv",
        claims="results/{scale}/claims.csv",
        figures=collect("figures/{{scale}}/{figure}.png", figure=FIGURES),
    output:
        report(
            "results/{scale}/report.html",
            caption="../report/page.rst",
            category="Summary",
        ),
    log:
        "results/{scale}/logs/report.log",
    benchmark:
        "results/{scale}/benchmarks/report.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(1024),
        runtime=growing(10),
    params:
        results=lambda wildcards, output: Path(output[0]).parent,
        code=showing_code("dm2.scripts.write_report"),
    shell:
        "python -m dm2.scripts.write_report --results {params.results:q} --output {output:q} {input.figures:q}"
        " > {log:q} 2>&1"


rule record_battles:
    input:
        [
            f"{run.directory(SCALE)}/policies/{PERCENTS[-1]}.safetensors"
            for run in MATRIX.learners
        ],
    output:
        report(
            directory("results/{scale}/battles"),
            caption="../report/battles.rst",
            patterns=["{map_name}/{condition}/seed-{seed}.html"],
            category="Battles",
            labels={"map": "{map_name}", "condition": "{condition}", "seed": "{seed}"},
        ),
    log:
        "results/{scale}/logs/record_battles.log",
    benchmark:
        "results/{scale}/benchmarks/record_battles.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(2048),
        runtime=growing(30),
    params:
        code=showing_code("dm2.scripts.record_battles"),
    shell:
        "python -m dm2.scripts.record_battles --output {output:q} {input:q} > {log:q} 2>&1"
