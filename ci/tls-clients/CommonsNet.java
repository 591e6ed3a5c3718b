import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.List;
import java.util.stream.Collectors;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;
import org.apache.commons.net.ftp.FTP;
import org.apache.commons.net.ftp.FTPSClient;

/** Apache Commons Net, as it is: it resumes what Java's own cache of TLS sessions finds, which is nothing. */
public class CommonsNet {
    private static FTPSClient client;

    public static void main(String[] a) throws Exception {
        String host = a[0], user = a[2], password = a[3], mode = a[4], version = a[5], remote = a[8];
        Path directory = Path.of(a[7]);
        client = new FTPSClient("TLS", mode.equals("implicit"));
        client.setTrustManager(trusting(Path.of(a[6])));
        client.setEndpointCheckingEnabled(true);
        client.setEnabledProtocols(new String[] {"TLSv" + version});
        client.setDefaultTimeout(60_000);
        client.connect(host, Integer.parseInt(a[1]));
        check(client.login(user, password));
        client.execPBSZ(0);
        client.execPROT("P");
        client.enterLocalPassiveMode();
        check(client.setFileType(FTP.BINARY_FILE_TYPE));
        check(client.makeDirectory(remote));
        check(client.changeWorkingDirectory(remote));
        List<Path> paths;
        try (var found = Files.list(directory.resolve("up"))) {
            paths = found.sorted().collect(Collectors.toList());
        }
        for (Path path : paths) {
            String name = path.getFileName().toString();
            try (var file = Files.newInputStream(path)) {
                check(client.storeFile(name, file));
            }
            try (var file = Files.newOutputStream(directory.resolve("down").resolve(name))) {
                check(client.retrieveFile(name, file));
            }
        }
        String[] names = client.listNames();
        check(names != null);
        for (String name : names) System.out.println(name);
        check(client.logout());
        client.disconnect();
    }

    private static void check(boolean ok) throws IOException {
        if (!ok) throw new IOException(client.getReplyString());
    }

    private static X509TrustManager trusting(Path ca) throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (var file = Files.newInputStream(ca)) {
            store.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        var factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return (X509TrustManager) factory.getTrustManagers()[0];
    }
}
