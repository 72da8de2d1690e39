//! The head of a request, read strictly before anything else reads it (S36): whoever stands in front of this server must
//! find the same end of the same request, so whatever two programs could read in two ways is refused.

use axum::http::Uri;
use axum::http::uri::Authority;

use crate::wire::Fault;

/// Bytes of a head.
pub(super) const LARGEST_HEAD: usize = 64 * 1024;

/// Header fields of a head.
pub(super) const MOST_FIELDS: usize = 100;

/// A head that comes in pieces. It is refused at the first line that is wrong, not at its end.
#[derive(Default)]
pub(super) struct Head {
    scanned: usize,
    line: usize,
    has_empty_line: bool,
    request: Option<RequestLine>,
    fields: usize,
    host: Option<Vec<u8>>,
    has_length: bool,
    has_coding: bool,
}

#[derive(Clone)]
struct RequestLine {
    /// The authority that an absolute target names.
    authority: Option<Authority>,
    is_http_11: bool,
}

impl Head {
    /// Reads on in what has come so far, which begins with what was given before; answers where the head ends.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<Option<usize>, Fault> {
        while let Some(&byte) = bytes.get(self.scanned) {
            let at = self.scanned;
            self.scanned += 1;
            if self.scanned > LARGEST_HEAD {
                return Err(self.too_large());
            }
            match byte {
                b'\n' => {
                    let line = bytes.get(self.line..at).unwrap_or_default();
                    let line = line.strip_suffix(b"\r");
                    let line = line.ok_or(Fault::Head("a line of the head ends without CR LF"))?;
                    self.line = self.scanned;
                    if self.is_end(line)? {
                        return Ok(Some(self.scanned));
                    }
                }
                b'\t' | b'\r' | b' '..=b'~' | 0x80.. => {}
                0..b' ' | 0x7f => return Err(Fault::Head("the head has a control character")),
            }
        }
        Ok(None)
    }

    fn too_large(&self) -> Fault {
        match self.request {
            Some(_) => Fault::HeadSize,
            None => Fault::Target,
        }
    }

    /// Takes one line; answers whether it was the last.
    fn is_end(&mut self, line: &[u8]) -> Result<bool, Fault> {
        if line.contains(&b'\r') {
            return Err(Fault::Head("the head has a CR that ends no line"));
        }
        match (&self.request, line) {
            // One is forgiven, after a body whose sender has added it (RFC 9112, 2.2).
            (None, []) if !self.has_empty_line => self.has_empty_line = true,
            (None, _) => self.request = Some(RequestLine::read(line)?),
            (Some(request), []) => {
                self.check(request.clone())?;
                return Ok(true);
            }
            (Some(_), _) => self.field(line)?,
        }
        Ok(false)
    }

    fn field(&mut self, line: &[u8]) -> Result<(), Fault> {
        self.fields += 1;
        if self.fields > MOST_FIELDS {
            return Err(Fault::HeadSize);
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(0));
        // Also a line that continues the one before, and a space before the colon.
        if name.is_empty() || !name.iter().all(is_token) {
            return Err(Fault::Head(
                "a header field has no name of letters and digits, or a space around it",
            ));
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            let is_second = self.host.replace(value.to_vec()).is_some();
            if is_second || !is_host(value) {
                return Err(Fault::Head("a request has one Host, a name or an address"));
            }
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let is_second = std::mem::replace(&mut self.has_length, true);
            if is_second || !is_length(value) {
                return Err(Fault::Head(
                    "a request has one Content-Length of digits alone",
                ));
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            let is_second = std::mem::replace(&mut self.has_coding, true);
            if is_second || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Head(
                    "the one Transfer-Encoding known here is chunked",
                ));
            }
        }
        Ok(())
    }

    /// What the fields are only all together.
    fn check(&self, request: RequestLine) -> Result<(), Fault> {
        let RequestLine {
            authority,
            is_http_11,
        } = request;
        if self.has_coding && (self.has_length || !is_http_11) {
            return Err(Fault::Head(
                "the length of the body is told in two ways, or in one that HTTP/1.0 does not have",
            ));
        }
        match (&self.host, authority) {
            (None, _) if is_http_11 => Err(Fault::Head("a request has one Host")),
            (Some(host), Some(authority))
                if !host.eq_ignore_ascii_case(authority.as_str().as_bytes()) =>
            {
                Err(Fault::Head("the target and Host name different hosts"))
            }
            _ => Ok(()),
        }
    }
}

impl RequestLine {
    fn read(line: &[u8]) -> Result<Self, Fault> {
        let malformed =
            Fault::Head("the request does not begin with a method, a target and a version");
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(malformed);
        };
        let is_http_11 = match version {
            b"HTTP/1.1" => true,
            b"HTTP/1.0" => false,
            _ if version.starts_with(b"HTTP/") => return Err(Fault::Version),
            _ => return Err(malformed),
        };
        if method.is_empty() || !method.iter().all(is_token) {
            return Err(malformed);
        }
        let uri = Uri::try_from(target).ok();
        // `Uri` forgets a fragment, which no client sends.
        let uri = uri.filter(|_| !target.contains(&b'#') && !target.contains(&b'\t'));
        let authority = match uri {
            Some(uri) if target.starts_with(b"/") || target == b"*" => {
                drop(uri);
                None
            }
            Some(uri) if uri.scheme().is_some() => uri.authority().cloned(),
            _ => return Err(Fault::Head("the target of the request is no path")),
        };
        Ok(Self {
            authority,
            is_http_11,
        })
    }
}

/// What names of fields and methods are made of (RFC 9110, 5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Whether it may be empty is for those to say who compare it.
fn is_host(value: &[u8]) -> bool {
    value.is_empty() || !value.contains(&b'@') && Authority::try_from(value).is_ok()
}

fn is_length(value: &[u8]) -> bool {
    let digits = std::str::from_utf8(value).unwrap_or_default();
    !digits.is_empty()
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        // hyper has other meanings for the largest numbers of 64 bits.
        && digits.parse::<i64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Given at once, and byte by byte: nothing depends on how it was cut.
    fn read(text: &[u8]) -> Result<Option<usize>, Fault> {
        let whole = Head::default().read(text);
        let mut head = Head::default();
        let mut found = Ok(None);
        for end in 1..=text.len() {
            found = head.read(&text[..end]);
            if found != Ok(None) {
                break;
            }
        }
        assert_eq!(found, whole, "{:?}", String::from_utf8_lossy(text));
        whole
    }

    #[test]
    fn s36_what_can_be_read_in_one_way_is_read() {
        for head in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\nGET / HTTP/1.1\r\nHost:a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "GET http://a.example:80/check HTTP/1.1\r\nhost: A.example:80\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            "PROPFIND /a?b=c%20d HTTP/1.1\r\nHost:\r\nX_Y: \t a\tb \r\nX:\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9223372036854775807\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nCookie: \u{1f36a}\r\n\r\n",
        ] {
            let end = Ok(Some(head.len()));
            assert_eq!(read(head.as_bytes()), end, "{head:?}");
            let more = format!("{head}GET / HT");
            assert_eq!(Head::default().read(more.as_bytes()), end, "{head:?}");
            for cut in 0..head.len() {
                assert_eq!(read(&head.as_bytes()[..cut]), Ok(None), "{head:?} {cut}");
            }
        }
    }

    #[test]
    fn s36_a_head_has_so_many_bytes_and_fields() {
        let fields = |count: usize| {
            let fields = "X: y\r\n".repeat(count - 1);
            format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
        };
        let most = fields(MOST_FIELDS);
        assert_eq!(read(most.as_bytes()), Ok(Some(most.len())));
        assert_eq!(
            read(fields(MOST_FIELDS + 1).as_bytes()),
            Err(Fault::HeadSize)
        );
        let long = |length: usize| {
            let begin = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
            format!("{begin}{}\r\n\r\n", "x".repeat(length - begin.len() - 4))
        };
        let end = Head::default().read(long(LARGEST_HEAD).as_bytes());
        assert_eq!(end, Ok(Some(LARGEST_HEAD)));
        let end = Head::default().read(long(LARGEST_HEAD + 1).as_bytes());
        assert_eq!(end, Err(Fault::HeadSize));
        let target = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(70 * 1024));
        assert_eq!(Head::default().read(target.as_bytes()), Err(Fault::Target));
    }
}
