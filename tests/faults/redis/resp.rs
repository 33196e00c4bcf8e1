//! The protocol: commands in, replies out.

/// A reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(String),
    Array(Vec<Reply>),
    Nil,
}

impl Reply {
    pub fn ok() -> Self {
        Self::Simple("OK".into())
    }

    pub fn error(text: impl Into<String>) -> Self {
        Self::Error(text.into())
    }

    pub fn strings<T: Into<String>>(list: impl IntoIterator<Item = T>) -> Self {
        Self::Array(list.into_iter().map(|s| Self::Bulk(s.into())).collect())
    }

    pub fn encode(&self, out: &mut Vec<u8>) {
        let text = match self {
            Self::Simple(text) => format!("+{text}\r\n"),
            Self::Error(text) => format!("-{text}\r\n"),
            Self::Int(number) => format!(":{number}\r\n"),
            Self::Bulk(text) => format!("${}\r\n{text}\r\n", text.len()),
            Self::Nil => "$-1\r\n".to_owned(),
            Self::Array(list) => {
                out.extend(format!("*{}\r\n", list.len()).into_bytes());
                for reply in list {
                    reply.encode(out);
                }
                return;
            }
        };
        out.extend(text.into_bytes());
    }
}

/// Takes one command from the front of what was read; `None` while it is not complete.
pub fn command(buffer: &mut Vec<u8>) -> Option<Vec<String>> {
    let mut at = 0;
    let count = number(buffer, &mut at, b'*')?;
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let length = number(buffer, &mut at, b'$')?;
        let word = buffer.get(at..at + length)?;
        words.push(String::from_utf8_lossy(word).into_owned());
        at += length + 2;
        if at > buffer.len() {
            return None;
        }
    }
    buffer.drain(..at);
    Some(words)
}

fn number(buffer: &[u8], at: &mut usize, mark: u8) -> Option<usize> {
    let line = buffer.get(*at..)?;
    let end = line.windows(2).position(|w| w == b"\r\n")?;
    assert_eq!(line[0], mark, "{:?}", String::from_utf8_lossy(line));
    *at += end + 2;
    std::str::from_utf8(&line[1..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_taken_when_it_is_complete() {
        let whole = b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPING\r\n".to_vec();
        for cut in 0..20 {
            assert_eq!(command(&mut whole[..cut].to_vec()), None, "{cut}");
        }
        let mut buffer = whole;
        assert_eq!(command(&mut buffer).unwrap(), ["GET", "k"]);
        assert_eq!(command(&mut buffer).unwrap(), ["PING"]);
        assert!(buffer.is_empty());
    }
}
