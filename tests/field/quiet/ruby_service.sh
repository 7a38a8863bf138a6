# a ruby service sleeps for ever until SIGTERM
# needs: ruby
ruby -e 'trap("TERM") { exit 0 }; File.write("ready", ""); sleep' & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service
