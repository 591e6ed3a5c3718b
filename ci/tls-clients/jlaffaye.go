// Go's jlaffaye/ftp, with Go's cache of TLS sessions.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/jlaffaye/ftp"
)

func main() {
	host, port, user, password, mode, version := os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5], os.Args[6]
	ca, directory, remote := os.Args[7], os.Args[8], os.Args[9]
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(must(os.ReadFile(ca)))
	config := &tls.Config{ServerName: host, RootCAs: roots, ClientSessionCache: tls.NewLRUClientSessionCache(32)}
	config.MinVersion, config.MaxVersion = tls.VersionTLS13, tls.VersionTLS13
	if version == "1.2" {
		config.MinVersion, config.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	}
	secure := ftp.DialWithExplicitTLS(config)
	if mode == "implicit" {
		secure = ftp.DialWithTLS(config)
	}
	client := must(ftp.Dial(host+":"+port, secure, ftp.DialWithTimeout(60*time.Second)))
	check(client.Login(user, password))
	check(client.MakeDir(remote))
	check(client.ChangeDir(remote))
	for _, path := range must(filepath.Glob(directory + "/up/*")) {
		name := filepath.Base(path)
		file := must(os.Open(path))
		check(client.Stor(name, file))
		file.Close()
		response := must(client.Retr(name))
		check(os.WriteFile(filepath.Join(directory, "down", name), must(io.ReadAll(response)), 0o600))
		check(response.Close())
	}
	for _, name := range must(client.NameList("")) {
		fmt.Println(name)
	}
	check(client.Quit())
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
