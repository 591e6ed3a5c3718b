# Ruby's Net::FTP: explicit only, as Debian has it.
require "net/ftp"

host, port, user, password, _mode, version, ca, directory, remote = ARGV
wanted = version == "1.2" ? OpenSSL::SSL::TLS1_2_VERSION : OpenSSL::SSL::TLS1_3_VERSION
ssl = { ca_file: ca, verify_mode: OpenSSL::SSL::VERIFY_PEER, min_version: wanted, max_version: wanted }
ftp = Net::FTP.new(host, port: port.to_i, ssl: ssl, passive: true, read_timeout: 60)
ftp.login(user, password)
ftp.mkdir(remote)
ftp.chdir(remote)
Dir["#{directory}/up/*"].sort.each do |path|
  name = File.basename(path)
  ftp.putbinaryfile(path, name)
  ftp.getbinaryfile(name, "#{directory}/down/#{name}")
end
puts ftp.nlst
ftp.quit
