# a step in a pane, waited for by wait-for
# needs: tmux
export TMUX_TMPDIR=$PWD
tmux -f /dev/null -L q new-session -d 'sleep @REST@; tmux -L q wait-for -S done; sleep 1'
tmux -L q wait-for done
tmux -L q kill-server; true
