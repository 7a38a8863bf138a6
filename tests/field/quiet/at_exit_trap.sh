# a long clean-up after SIGTERM
# needs: bash
bash -c 'trap "sleep @REST@; exit 0" TERM; (sleep 1; kill $$) & while :; do sleep 0.2; done'
