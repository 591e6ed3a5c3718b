# Perl's Net::FTP with IO::Socket::SSL.
use strict;
use warnings;
use Net::FTP;

my ($host, $port, $user, $password, $mode, $version, $ca, $directory, $remote) = @ARGV;
my $ftp = Net::FTP->new(
    $host,
    Port        => $port,
    Passive     => 1,
    Timeout     => 60,
    SSL         => $mode eq 'implicit',
    SSL_ca_file => $ca,
    SSL_version => $version eq '1.2' ? 'TLSv1_2' : 'TLSv1_3',
) or die "connect: $@";
sub check { my ($ok, $what) = @_; $ok or die "$what: " . $ftp->message }
check($ftp->starttls, 'starttls') if $mode eq 'explicit';
check($ftp->login($user, $password), 'login');
check($ftp->prot('P'), 'prot');
check($ftp->binary, 'binary');
check($ftp->mkdir($remote), 'mkdir');
check($ftp->cwd($remote), 'cwd');
for my $path (sort glob "$directory/up/*") {
    my ($name) = $path =~ m{([^/]+)$};
    check($ftp->put($path, $name), "put $name");
    check($ftp->get($name, "$directory/down/$name"), "get $name");
}
my $names = $ftp->ls;
check(defined $names, 'ls');
print "$_\n" for @$names;
check($ftp->quit, 'quit');
