# a JVM service waits until its shutdown hook runs
# needs: java javac
cat >Q.java <<'J'
import java.nio.file.*;
import java.util.concurrent.*;
public class Q {
    public static void main(String[] a) throws Exception {
        CountDownLatch stop = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(stop::countDown));
        Files.createFile(Path.of("ready"));
        stop.await();
    }
}
J
javac Q.java; java -cp . Q & service=$!
until [ -e ready ]; do sleep 0.1; done
sleep @REST@; kill $service; wait $service; true
