"""DM²: runs that learn from demonstrations, by the discriminators' reward alone or mixed with the task's."""


use rule train_without_demonstrations as train_from_demonstrations with:
    input:
        settings="results/{scale}/runs/{map_name}/{condition}/seed-{seed}/settings.yaml",
        demonstrations=demonstrations_of,
    wildcard_constraints:
        condition=alternatives(MATRIX.conditions_with_demonstrations),
    params:
        run_directory=subpath(output.record, parent=True),
        demonstrations=lambda wildcards, input: [
            "--demonstrations",
            input.demonstrations,
        ],
        code=training_code,
