import java.io.*;
import java.util.concurrent.TimeUnit;

/** A tool's answer is read before its input is closed: sort waits for the end of its input. healthy: it is closed, the tool is slow. */
public class JavaSortsNothing {
    public static void main(String[] args) throws Exception {
        boolean hang = args[0].equals("hang");
        Process tool = new ProcessBuilder("bash", "-c", hang ? "sort" : "sort; sleep 40").start();
        Writer in = new OutputStreamWriter(tool.getOutputStream());
        in.write("b\na\n");
        in.flush();
        if (!hang) in.close();
        BufferedReader out = new BufferedReader(new InputStreamReader(tool.getInputStream()));
        for (String line; (line = out.readLine()) != null; ) System.out.println(line);
        tool.waitFor(1, TimeUnit.HOURS);
    }
}
