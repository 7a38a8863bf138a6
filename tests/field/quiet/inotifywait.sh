# a file that comes late is waited for
# needs: inotifywait
(sleep @REST@; touch ready) &
inotifywait -qq -e create .
