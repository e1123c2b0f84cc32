//! Parquet files, row by row, within bounds.

use std::fs::File;
use std::time::Duration;

use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::schema::types::Type;
use serde_json::{Number, Value};

use super::{MAX_BYTES, MAX_ROWS, Row, too_many_rows};
use crate::contained::contained;

/// What Parquet files begin with.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// Longest that a file is read: far more than the bounds on its size allow.
const PATIENCE: Duration = Duration::from_secs(300);

/// The rows of a Parquet file, with these of its columns alone.
pub(super) fn read(file: File, columns: &[&str]) -> Result<Vec<Row>, String> {
    // The reader panics on some types that it does not know and on some damage.
    let columns: Vec<String> = columns.iter().map(|column| (*column).to_owned()).collect();
    let rows = contained(PATIENCE, move || {
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        rows(file, &columns)
    });
    rows.unwrap_or_else(|_| Err("a Parquet file that is damaged or of an unknown kind".into()))
}

fn rows(file: File, columns: &[&str]) -> Result<Vec<Row>, String> {
    let unreadable = |error: ParquetError| format!("no Parquet file that can be read: {error}");
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let metadata = reader.metadata();
    let schema = metadata.file_metadata().schema();
    let known: Vec<_> = schema
        .get_fields()
        .iter()
        .filter(|field| columns.contains(&field.name()))
        .cloned()
        .collect();
    if known.is_empty() {
        let found: Vec<&str> = schema
            .get_fields()
            .iter()
            .map(|field| field.name())
            .collect();
        return Err(format!(
            "no column that is known, only `{}`; known are {}",
            found.join("`, `"),
            columns.join(", ")
        ));
    }
    if usize::try_from(metadata.file_metadata().num_rows()).is_ok_and(|rows| rows > MAX_ROWS) {
        return Err(too_many_rows());
    }
    let unpacked: i64 = metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns())
        .filter(|column| {
            let path = column.column_path().parts();
            path.first()
                .is_some_and(|name| columns.contains(&name.as_str()))
        })
        .map(|column| column.uncompressed_size().max(0))
        .fold(0, i64::saturating_add);
    let mut room = MAX_BYTES;
    if unpacked.unsigned_abs() > room {
        return Err(format!(
            "{unpacked} bytes when unpacked, expected at most {room}"
        ));
    }
    let projection = Type::group_type_builder(schema.name())
        .with_fields(known)
        .build()
        .map_err(unreadable)?;
    let mut rows = Vec::new();
    for row in reader.get_row_iter(Some(projection)).map_err(unreadable)? {
        if rows.len() == MAX_ROWS {
            return Err(too_many_rows());
        }
        let columns = row.map_err(unreadable)?.into_columns().into_iter();
        let values = columns.map(|(name, field)| Ok((name, value(field, &mut room)?)));
        rows.push(values.collect::<Result<Row, String>>()?);
    }
    Ok(rows)
}

/// A value of the kinds that such tables hold. `room` are the bytes that may still come.
fn value(field: Field, room: &mut u64) -> Result<Value, String> {
    let mut take = |bytes: usize| {
        *room = room
            .checked_sub(bytes as u64 + 8)
            .ok_or_else(|| format!("more than {MAX_BYTES} bytes when unpacked"))?;
        Ok::<(), String>(())
    };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::Bool(value),
        Field::Byte(value) => value.into(),
        Field::Short(value) => value.into(),
        Field::Int(value) => value.into(),
        Field::Long(value) => value.into(),
        Field::UByte(value) => value.into(),
        Field::UShort(value) => value.into(),
        Field::UInt(value) => value.into(),
        Field::ULong(value) => value.into(),
        Field::Float(value) => number(value.into()),
        Field::Double(value) => number(value),
        Field::Str(text) => {
            take(text.len())?;
            Value::String(text)
        }
        Field::Bytes(bytes) => {
            take(bytes.len())?;
            Value::String(text(&bytes)?)
        }
        Field::ListInternal(list) => {
            take(list.len())?;
            let items = list.elements().iter().cloned();
            Value::Array(
                items
                    .map(|item| value(item, room))
                    .collect::<Result<_, _>>()?,
            )
        }
        Field::Group(row) => {
            take(row.len())?;
            let fields = row.into_columns().into_iter();
            let fields = fields.map(|(name, field)| Ok((name, value(field, room)?)));
            Value::Object(fields.collect::<Result<Row, String>>()?)
        }
        other => return Err(format!("`{other}` is neither text, number, list nor group")),
    })
}

fn number(value: f64) -> Value {
    Number::from_f64(value).map_or(Value::Null, Value::Number) // what is no number says nothing
}

/// Text that the file does not mark as text.
fn text(bytes: &ByteArray) -> Result<String, String> {
    let text = std::str::from_utf8(bytes.data()).map_err(|_| "bytes that are no UTF-8 text")?;
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::basic::Compression;
    use parquet::data_type::{ByteArrayType, Int64Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;

    use super::*;

    /// A table of three rows: a text, a number that may be absent, a list of texts.
    fn table(compression: Compression) -> Vec<u8> {
        let schema = "message papers {
            required binary id (UTF8);
            optional int64 suggestions;
            optional group reviews (LIST) { repeated group list { optional binary element (UTF8); } }
            required binary other;
        }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let properties = WriterProperties::builder()
            .set_compression(compression)
            .build();
        let mut file = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        let mut group = file.next_row_group().unwrap();
        let texts = |texts: &[&'static str]| -> Vec<ByteArray> {
            texts.iter().map(|text| ByteArray::from(*text)).collect()
        };
        let mut column = group.next_column().unwrap().unwrap();
        let ids = texts(&["a", "b", "c"]);
        column
            .typed::<ByteArrayType>()
            .write_batch(&ids, None, None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(&[2, 5], Some(&[1, 0, 1]), None)
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let reviews = texts(&["one", "two", "three"]);
        let (levels, repeated) = ([3, 3, 0, 3], [0, 1, 0, 0]);
        column
            .typed::<ByteArrayType>()
            .write_batch(&reviews, Some(&levels), Some(&repeated))
            .unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let others = texts(&["x", "y", "z"]);
        column
            .typed::<ByteArrayType>()
            .write_batch(&others, None, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.into_inner().unwrap()
    }

    fn read_bytes(bytes: &[u8], columns: &[&str]) -> Result<Vec<Row>, String> {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        read(file, columns)
    }

    const COLUMNS: [&str; 3] = ["id", "suggestions", "reviews"];

    #[test]
    fn tables_of_every_compression_are_read() {
        let rows =
            |compression| serde_json::json!(read_bytes(&table(compression), &COLUMNS).unwrap());
        let expected = serde_json::json!([
            {"id": "a", "suggestions": 2, "reviews": ["one", "two"]},
            {"id": "b", "suggestions": null, "reviews": null},
            {"id": "c", "suggestions": 5, "reviews": ["three"]},
        ]);
        for compression in [
            Compression::UNCOMPRESSED,
            Compression::SNAPPY,
            Compression::ZSTD(Default::default()),
            Compression::GZIP(Default::default()),
        ] {
            assert_eq!(rows(compression), expected, "{compression:?}");
        }
    }

    #[test]
    fn a_table_without_known_columns_says_which_it_has() {
        let error = read_bytes(&table(Compression::SNAPPY), &["labels"]).unwrap_err();
        assert!(
            error.contains("only `id`, `suggestions`, `reviews`, `other`"),
            "{error}"
        );
        let error = read_bytes(&table(Compression::SNAPPY), &["other"]).unwrap();
        assert_eq!(error[0]["other"], "x"); // bytes that are not marked as text
    }

    proptest! {
        #[test]
        fn damage_is_an_error_or_other_values_but_no_panic(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            end in any::<prop::sample::Index>(),
        ) {
            let whole = table(Compression::UNCOMPRESSED);
            let _ = read_bytes(&whole[..end.index(whole.len())], &COLUMNS);
            let mut bytes = whole;
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(rows) = read_bytes(&bytes, &COLUMNS) {
                prop_assert!(rows.len() <= MAX_ROWS);
            }
        }
    }
}
