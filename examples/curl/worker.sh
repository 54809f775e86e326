#!/bin/sh
# worker.sh SERVER KIND COMMAND…: runs COMMAND for each operation of KIND, its input on stdin, its result from stdout.
server=$1 kind=$2 dir=$(mktemp -d); shift 2
query="wait=30s&lease_duration=60s&request_id=$dir" # a lost answer comes again
ask() { # FILE ARGUMENTS…: a request, until the server answers it and does not say "try again"
  until code=$(curl -s -o "$@" -w '%{http_code}') && [ "$code" -lt 500 ]; do sleep 1; done; [ "$code" -lt 300 ]
}
while cd "$dir"; do
  url=$(curl -fs -X POST -o attempt -w '%header{location}' "$server/v1/kinds/$kind:acquire?$query") || sleep 1
  [ "$url" ] || continue
  while sleep 20 && kill -0 $$; do ask renewed -X POST "$url:renew"; done & alive=$!
  if : >input >errors; ask input "$url/input" && "$@" <input >result 2>errors
  then ask answer -H 'Content-Type: text/plain' --data-binary @result "$url:complete"
  else ask answer -H 'Content-Type: text/plain' --data-binary @errors "$url:fail"
  fi
  kill $alive
done
