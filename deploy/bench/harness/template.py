"""Files for a run: configurations made from templates, certificates made by openssl."""
import string
import subprocess


def render(text, flags, repeats, values):
    """Applies the lines `#if NAME`, `#if !NAME`, `#repeat NAME` and `#end`, then puts values in for $names."""
    lines = text.split("\n")
    return string.Template("\n".join(block(lines, True, flags, repeats))).safe_substitute(values)


def block(lines, keep, flags, repeats):
    """The lines up to the matching `#end`, which are taken off the list."""
    out = []
    while lines:
        line = lines.pop(0)
        word = line.split()
        if line.startswith("#if "):
            wanted = (word[1][1:] not in flags) if word[1].startswith("!") else (word[1] in flags)
            out += block(lines, wanted, flags, repeats)
        elif line.startswith("#repeat "):
            body = block(lines, True, flags, repeats)
            for number in range(repeats.get(word[1], 0)):
                out += [part.replace("$i", str(number)) for part in body]
        elif line.startswith("#end"):
            break
        else:
            out.append(line)
    return out if keep else []


def make_certificates(folder):
    """A P-256 root and a leaf with a SPIFFE name for each side."""
    folder.mkdir()

    def openssl(*arguments):
        subprocess.run(("openssl", *arguments), cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-days", "30", "-subj", "/O=cluster.local")
    for who in ("client", "server"):
        (folder / f"{who}.ext").write_text(
            f"subjectAltName=critical,URI:spiffe://cluster.local/ns/default/sa/{who},DNS:{who}.default.svc\n"
            "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
            "basicConstraints=critical,CA:FALSE\n")
        openssl("req", "-new", *key, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", "/")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-out", f"{who}.pem", "-days", "30", "-extfile", f"{who}.ext")
        (folder / f"{who}.both").write_text((folder / f"{who}.pem").read_text() + (folder / f"{who}.key").read_text())
