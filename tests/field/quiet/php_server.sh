# php -S at rest
# needs: php curl
echo '<?php echo "ok";' >index.php
php -S "127.0.0.1:$PORT" >/dev/null 2>&1 & server=$!
sleep 1; curl -s "http://127.0.0.1:$PORT/" >/dev/null
sleep @REST@
kill $server; wait $server; true
