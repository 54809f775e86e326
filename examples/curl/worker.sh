#!/bin/sh
# worker.sh SERVER KIND COMMAND…: runs COMMAND for each operation of KIND, its input on stdin, its result from stdout.
# LONGRUN_TOKEN, if set, is the bearer token. SIGTERM stops the worker, which gives back the attempt that it has.
server=$1 kind=$2 dir=$(mktemp -d) number=0 text='Content-Type: text/plain'; shift 2
cd "$dir" || exit
echo "${LONGRUN_TOKEN:+header = \"Authorization: Bearer $LONGRUN_TOKEN\"}" >config # not an argument: users see those
ask() { # FILE ARGUMENTS…: repeats a request until the answer is not "try again"; prints a refusal
  while code=$(curl -sS -K config -y 60 -o "$@" -w '%{http_code}') || [ "$code" -ge 400 ] || code=000; do
    case $code in
      000 | 429 | 50[234]) [ -z "$stopping" ] && sleep 2 || return ;;
      2??) return ;;
      *) cat "$1" >&2; return 1 ;;
    esac
  done
}
stop() { kill -s "$1" -- "-$command" || kill -s "$1" "$command"; } 2>/dev/null # its group, if setsid made one
renew() { # until it is killed; stops a command that is cancelled, at the second time by SIGKILL
  trap 'kill $!; exit' TERM
  while sleep 5 & wait $! && kill -0 $$; do
    ask renewed -X POST "$url:renew" && ! grep -q '"cancel"' renewed || { stop "${signal:-TERM}"; signal=KILL; }
  done
}
trap 'rm -r "$dir"' EXIT
trap 'stopping=1; [ -z "$command" ] || stop TERM' INT TERM
while [ -z "$stopping" ]; do
  # The request_id brings back an answer that was lost. It is new each time, so an attempt that cannot be reported ends.
  query="wait=30s&lease_duration=60s&request_id=$dir/$((number += 1))"
  ask attempt -D head -X POST "$server/v1/kinds/$kind:acquire?$query" || { sleep 10; continue; }
  url=$(sed -n 's/^[Ll]ocation: *//p' head | tr -d '\r')
  : >input >renewed
  [ "$url" ] && ask input "$url/input" || continue
  $(command -v setsid) "$@" <input >result 2>errors & command=$!
  renew & renewing=$!
  if wait $command || wait $command; then # again, if a signal ended the first wait
    ask answer -H "$text" --data-binary @result "$url:complete"
  elif [ "$stopping" ] || grep -q CANCEL_REQUESTED renewed; then ask answer -X POST "$url:release"
  elif ! grep -q '"cancel"' renewed; then
    tail -c 10000 errors >message
    ask answer -H "$text" --data-binary @message "$url:fail"
  fi
  case $code in
    404 | 409) ;; # the attempt is over
    4??) ask refusal -H "$text" --data-binary @answer "$url:fail?final=true&code=REPORT_REFUSED" ;;
  esac
  command=; kill $renewing; wait $renewing
done
