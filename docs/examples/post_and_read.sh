#!/usr/bin/env bash
# Post a job over HTTP with curl, wait for its end, and read its order sets with redis-cli.
#
#   API=http://127.0.0.1:8080 MODEL=growth-60 KEY=nightly-2026-11-30 ./post_and_read.sh
#
# API_KEY: where the API asks for one. REDIS_CLI: how redis-cli is called (-h HOST -p PORT --user NAME, or -s SOCKET; the
# password in REDISCLI_AUTH, since a command line is for everybody to see).
set -euo pipefail

: "${API:=http://127.0.0.1:8080}" "${MODEL:?the id of a model}" "${KEY:?the idempotency key}"
: "${REDIS_CLI:=redis-cli -u redis://127.0.0.1:6379/0}" "${GROUP:=oms-bash}"
read -ra redis <<<"$REDIS_CLI"
headers=(-H 'Content-Type: application/json')
[[ -z ${API_KEY:-} ]] || headers+=(-H "Authorization: Bearer $API_KEY")

# The word after a name in a flat JSON object of ours; a real program has jq.
word() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1; }

# The same key is the same job, however often it is posted: try again until it was answered.
job=$(curl --fail --silent --show-error --retry 5 --retry-connrefused "${headers[@]}" \
  -H "Idempotency-Key: $KEY" -d "{\"model_id\": \"$MODEL\"}" "$API/api/v1/jobs" | word job_id)
echo "job: $job"

until [[ $(curl --fail --silent --show-error "${headers[@]}" "$API/api/v1/jobs/$job" | word finished_at) != null ]]; do
  sleep 0.2
done

# A group remembers what each of its consumers has read and not yet acknowledged. 0: from the first entry on.
"${redis[@]}" XGROUP CREATE trimtab.order-sets "$GROUP" 0 MKSTREAM >/dev/null 2>&1 || true
while :; do
  # One entry: the stream, the entry's id, then the fields and values, a line each. The end of a job may be told before its
  # last order set is published: wait a second for another.
  entry=$("${redis[@]}" --raw XREADGROUP GROUP "$GROUP" oms-1 COUNT 1 BLOCK 1000 STREAMS trimtab.order-sets '>')
  [[ -n $entry ]] || break
  id=$(sed -n 2p <<<"$entry")
  body=$(sed -n '/^data$/{n;p;}' <<<"$entry")
  echo "$body"                                                        # book it here, then:
  "${redis[@]}" XACK trimtab.order-sets "$GROUP" "$id" >/dev/null
done
