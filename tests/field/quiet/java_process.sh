# the JVM reads from a slow child
# needs: java javac
cat >Q.java <<'J'
public class Q {
    public static void main(String[] a) throws Exception {
        Process p = new ProcessBuilder("bash", "-c", "sleep @REST@; seq 100000").start();
        p.getInputStream().readAllBytes();
        p.waitFor();
    }
}
J
javac Q.java && java -cp . Q
