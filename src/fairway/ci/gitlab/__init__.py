"""GitLab pipelines: from `.gitlab-ci.yml` and its includes to jobs that run here.

The way of a file: `document` (YAML with `!reference`), `inputs` (`$[[ ]]`), `includes`, `merging` (extends, references),
`decoding` (typed values), `plan` (rules, matrices, needs: the jobs of one pipeline), `decide` (what happens next).
"""
