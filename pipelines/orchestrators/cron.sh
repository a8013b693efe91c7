#!/usr/bin/env bash
# cron: an hourly load. The log gets one JSON line a run, for a log collector; cron mails what is printed, and that is
# only a failure. Two runs never overlap: the second one says so and ends. A crontab:
#
#   MAILTO=oncall@example.com
#   17 * * * *  SUPERMETRICS_ENV=/etc/supermetrics.env /opt/supermetrics/pipelines/orchestrators/cron.sh --keep-going
#
# with, in /etc/supermetrics.env (readable by this user alone), lines such as SUPERMETRICS_API_KEY=api_... and
# SOURCES__SUPERMETRICS__TEAM_IDS=936506,941277. Arguments go to `supermetrics-connectors load`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit

if [ -n "${SUPERMETRICS_ENV:-}" ]; then
    set -a
    # shellcheck source=/dev/null
    . "$SUPERMETRICS_ENV" || exit
    set +a
fi
log=${SUPERMETRICS_LOG:-supermetrics.log}
PATH=$PWD/.venv/bin:$PATH

code=0
supermetrics-connectors load --include-configs --json "$@" >>"$log" || code=$?
[ "$code" -eq 0 ] || echo "The load ended with exit code $code at $(date -u +%FT%TZ); its line is in $log." >&2
exit "$code"
