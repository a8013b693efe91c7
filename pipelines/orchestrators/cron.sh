#!/usr/bin/env bash
# cron: an hourly load.
#
# Each run appends one JSON line to the log. cron mails standard error, which holds only failures and
# warnings. Two runs never overlap: the second run fails at once. A crontab:
#
#   MAILTO=oncall@example.com
#   17 * * * *  SUPERMETRICS_ENV=/etc/supermetrics.env /opt/supermetrics/pipelines/orchestrators/cron.sh --keep-going
#
# /etc/supermetrics.env is readable by this user alone and has lines such as SUPERMETRICS_API_KEY=api_... and
# SOURCES__SUPERMETRICS__TEAM_IDS=936506,941277. The key is never an argument: other users can read arguments of
# processes. Arguments of this script are options of `supermetrics-connectors load`.
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
supermetrics-connectors load --include-configs --include-teams --json "$@" >>"$log" || code=$?
[ "$code" -eq 0 ] || echo "The load ended with exit code $code at $(date -u +%FT%TZ); its line is in $log." >&2
exit "$code"
