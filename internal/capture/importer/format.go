package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/reprise-io/reprise/internal/fault"
	"github.com/reprise-io/reprise/internal/packet"
)

type format string

const (
	formatGor        format = "gor"
	formatHAR        format = "har"
	formatPcap       format = "pcap" // and pcapng: which of the two is in the file's first bytes
	formatLog        format = "accesslog"
	formatMitmproxy  format = "mitmproxy"
	formatOpenSearch format = "opensearch"
)

const supported = "GoReplay .gor, HAR 1.2 (.har), pcap and pcapng, access logs, mitmproxy flows, OpenSearch captures, plain or compressed with gzip"

// Formats are the names that Options.Format may have.
const Formats = "gor, har, pcap (also for pcapng), accesslog, common, combined, vhost_combined, nginx:FORMAT, apache:FORMAT, mitmproxy, opensearch"

// peek is how much of a file is looked at to tell its format.
const peek = 64 << 10

// detect tells the format by the content; a name says nothing sure. asked overrides it.
func (f *File) detect(asked string) (format, error) {
	templates, err := logTemplates(asked)
	switch {
	case err != nil:
		return "", err
	case templates != nil:
		f.templates = templates
		return formatLog, nil
	}
	switch format(asked) {
	case formatGor, formatHAR, formatPcap, formatMitmproxy, formatOpenSearch:
		return format(asked), nil
	case "":
	default:
		return "", fault.BadUsage(fmt.Sprintf("unknown format %q", asked), "", "one of "+Formats)
	}
	r, err := f.content(nil)
	if err != nil {
		return "", err
	}
	head := make([]byte, peek)
	n, err := io.ReadFull(r, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return "", fault.New("cannot read "+f.name, plainCause(err), "gzip -t tells whether a compressed file is whole")
	}
	return f.formatOf(head[:n])
}

func (f *File) formatOf(head []byte) (format, error) {
	if packet.IsCapture(head) {
		return formatPcap, nil
	}
	text := bytes.TrimLeft(bytes.TrimPrefix(head, []byte(bom)), " \t\r\n\x00")
	switch {
	case len(text) == 0 && bytes.IndexByte(head, 0) >= 0:
		return "", fault.New(f.name+" begins with zero bytes only", "a log that was emptied while its server wrote on begins so",
			`take them out: tr -d '\000' <FILE >COPY`)
	case len(text) == 0:
		return "", fault.New(f.name+" is empty", "there is nothing in it to import", "record it again: "+supported+" can be imported")
	case text[0] == '{' && !bytes.HasPrefix(text, []byte(dockerLog)):
		return formatHAR, nil
	case isGorHead(text):
		return formatGor, nil
	case isFlowHead(text):
		return formatMitmproxy, nil
	case isStreamHead(text):
		return formatOpenSearch, nil
	case isAccessLog(text):
		return formatLog, nil
	}
	return "", fault.New(f.name+" is in a format that cannot be imported", whatElse(head),
		"files that can: "+supported+"; --format says which when the content does not")
}

// whatElse names some formats that people have at hand.
func whatElse(head []byte) string {
	has := func(prefix string) bool { return bytes.HasPrefix(head, []byte(prefix)) }
	switch {
	case has("\xff\xfe"), has("\xfe\xff"):
		return "it is UTF-16 text; HAR is UTF-8: iconv -f UTF-16 -t UTF-8"
	case has("PK\x03\x04"):
		return "it is compressed in a zip archive: unzip it first"
	case has("\x28\xb5\x2f\xfd"):
		return "it is compressed with zstd: zstd -d unpacks it"
	case has("BZh"):
		return "it is compressed with bzip2: bzip2 -dk unpacks it"
	case has("\xfd7zXZ"):
		return "it is compressed with xz: xz -dk unpacks it"
	case has("\x1f\x8b"):
		return "it is compressed with gzip twice: gzip -d unpacks it once"
	case strings.Contains(string(head), `GET /`):
		return "it looks like an access log of a format of its own: --format 'nginx:…' or 'apache:…' with the format string of the server"
	}
	return "its beginning is of none of the formats"
}
