// Node's basic-ftp. It resumes the control connection's session on each data connection.
const fs = require("fs")
const path = require("path")
const ftp = require(path.join(process.env.MODULES, "basic-ftp"))

async function main([host, port, user, password, mode, version, ca, directory, remote]) {
  const client = new ftp.Client(60000)
  const wanted = `TLSv${version}`
  await client.access({
    host, port: Number(port), user, password,
    secure: mode === "implicit" ? "implicit" : true,
    secureOptions: { ca: fs.readFileSync(ca), minVersion: wanted, maxVersion: wanted, host },
  })
  await client.ensureDir(remote)
  for (const name of fs.readdirSync(path.join(directory, "up")).sort()) {
    await client.uploadFrom(path.join(directory, "up", name), name)
    await client.downloadTo(path.join(directory, "down", name), name)
  }
  for (const entry of await client.list()) console.log(entry.name)
  client.close()
}

main(process.argv.slice(2)).catch(error => {
  console.error(error)
  process.exit(1)
})
