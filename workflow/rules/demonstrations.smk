"""Demonstrations: episodes of an expert, sampled once and shared by every seed that learns from them."""


localrules:
    write_settings_of_demonstrations,


rule write_settings_of_demonstrations:
    output:
        "results/{scale}/demonstrations/{map_name}/{archive}.yaml",
    log:
        "results/{scale}/logs/settings/{map_name}/{archive}.log",
    conda:
        "../../environment.yml"
    params:
        settings=lambda wildcards: archive_of(wildcards).model_dump_json(
            exclude_none=True
        ),
    shell:
        "python -m dm2.scripts.write_settings --kind demonstrations --settings {params.settings:q}"
        " --output {output:q} > {log:q} 2>&1"


rule sample_demonstrations:
    input:
        settings="results/{scale}/demonstrations/{map_name}/{archive}.yaml",
        policies=expert_policies,
        choice=expert_choice,
    output:
        "results/{scale}/demonstrations/{map_name}/{archive}.npz",
    log:
        "results/{scale}/logs/sample/{map_name}/{archive}.log",
    benchmark:
        "results/{scale}/benchmarks/sample/{map_name}/{archive}.tsv"
    conda:
        "../../environment.yml"
    threads: 1
    resources:
        mem_mb=growing(3072),
        runtime=growing(30),
    params:
        code=sampling_code,
    shell:
        "python -m dm2.scripts.sample_demonstrations --settings {input.settings:q} --output {output:q}"
        " --threads {threads} {input.policies:q} > {log:q} 2>&1"
