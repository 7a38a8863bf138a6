# a step in a detached screen, polled for
# needs: screen
mkdir -m 700 s; export SCREENDIR=$PWD/s
screen -dmS q bash -c 'sleep @REST@; touch done'
until [ -e done ]; do sleep 0.5; done
