//! Events that a server sends: the format `text/event-stream` of the HTML standard
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html>), of which only data matter here.
//!
//! It differs from the standard where endpoints do: an event counts although the stream ends without the blank line
//! behind it.

/// Most bytes of a line, and of the data of an event.
pub(super) const MAX_LINE: usize = 1 << 20;

/// A line or an event is longer than [`MAX_LINE`].
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

/// Reads events from a stream that comes in pieces.
#[derive(Debug, Default)]
pub(super) struct Events {
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    /// The last line ended with a carriage return, so that a line feed belongs to it.
    after_return: bool,
    /// The first line may begin with a byte order mark.
    begun: bool,
}

impl Events {
    /// Takes the next piece of the stream, and gives the data of each event that ends in it to `each`.
    pub(super) fn push<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.after_return && !bytes.is_empty() {
            self.after_return = false;
            bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
        }
        while let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            self.extend_line(&bytes[..end])?;
            self.end_line(&mut each)?;
            let returned = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if returned {
                self.after_return = bytes.is_empty();
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
        }
        Ok(self.extend_line(bytes)?)
    }

    /// The stream ended.
    pub(super) fn end<E: From<TooLong>>(
        mut self,
        mut each: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.end_line(&mut each)?;
        self.data.take().map_or(Ok(()), |data| each(&data))
    }

    fn extend_line(&mut self, bytes: &[u8]) -> Result<(), TooLong> {
        if self.line.len() + bytes.len() > MAX_LINE {
            return Err(TooLong);
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line<E: From<TooLong>>(
        &mut self,
        each: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !self.begun {
            self.begun = true;
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        if line.is_empty() {
            return self.data.take().map_or(Ok(()), |data| each(&data));
        }
        let field_end = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(field_end.unwrap_or(line.len()));
        if field != b"data" {
            return Ok(()); // a comment, or a field that says nothing here
        }
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match &mut self.data {
            None => self.data = Some(value.to_vec()),
            Some(data) if data.len() + value.len() >= MAX_LINE => return Err(TooLong.into()),
            Some(data) => {
                data.push(b'\n');
                data.extend_from_slice(value);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<String>, TooLong> {
        let mut all = Vec::new();
        let mut events = Events::default();
        let mut each = |data: &[u8]| {
            all.push(String::from_utf8_lossy(data).into_owned());
            Ok(())
        };
        for piece in pieces {
            events.push(piece, &mut each)?;
        }
        events.end(&mut each)?;
        Ok(all)
    }

    #[test]
    fn data_are_read_and_the_rest_is_skipped() {
        let stream = "\u{feff}data: one\n\n: comment\nevent: message\nid: 7\nretry: 10\ndata:two\r\n\r\n\n\n\
                      data: a\rdata:  b\r\rdata\n\ndatum: no\n\ndata: [DONE]";
        let expected = ["one", "two", "a\n b", "", "[DONE]"];
        assert_eq!(read([stream.as_bytes()]).unwrap(), expected);
        assert!(read([]).unwrap().is_empty());
    }

    #[test]
    fn what_is_too_long_is_refused() {
        let line = vec![b'x'; MAX_LINE + 1];
        assert_eq!(read([line.as_slice()]), Err(TooLong));
        let piece = [b"data: ".as_slice(), &[b'x'; 1000], b"\n"].concat();
        let pieces = std::iter::repeat_n(piece.as_slice(), MAX_LINE / 1000 + 1);
        assert_eq!(read(pieces), Err(TooLong));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_stream_is_split(
            stream in "(data: ?[aä:😀]{0,3}|:|[ab])?(\r|\n|\r\n|\n\n){0,3}(data:x(\r\n|\n|\r)){0,3}",
            at in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
        ) {
            let bytes = stream.as_bytes();
            let mut at: Vec<usize> = at.iter().map(|at| at.index(bytes.len() + 1)).collect();
            at.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for end in at.into_iter().chain([bytes.len()]) {
                pieces.push(&bytes[start..end]);
                start = end;
            }
            prop_assert_eq!(read(pieces), read([bytes]));
        }
    }
}
