#!/usr/bin/env bash
# Says of a job what Snakemake asks for: success, running or failed. A job that nobody knows any more has failed.
state=$(squeue --noheader --states=all --format=%T --jobs="$1" 2>/dev/null)
case "$state" in
    COMPLETED) echo success ;;
    PENDING | RUNNING | COMPLETING | CONFIGURING | SUSPENDED | REQUEUED | REQUEUE_HOLD) echo running ;;
    *) echo failed ;;
esac
