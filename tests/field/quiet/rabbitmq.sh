# rabbitmq at rest
# needs: rabbitmq-server rabbitmqctl root
chown -R rabbitmq .; chmod 755 .
export HOME=$PWD RABBITMQ_NODENAME=q$PORT@localhost RABBITMQ_NODE_PORT=$PORT RABBITMQ_DIST_PORT=$((PORT > 40000 ? PORT - @REST@000 : PORT + @REST@000))
export RABBITMQ_MNESIA_BASE=$PWD RABBITMQ_LOG_BASE=$PWD ERL_EPMD_PORT=$((PORT > 40000 ? PORT - 4000 : PORT + 4000)) RABBITMQ_PID_FILE=$PWD/pid
cd "$PWD" && setpriv --reuid=rabbitmq --regid=rabbitmq --clear-groups /usr/lib/rabbitmq/bin/rabbitmq-server >log 2>&1 & server=$!
for _ in $(seq 60); do grep -q 'completed with' log && break; sleep 0.5; done
sleep @REST@
kill $server; wait $server; true
