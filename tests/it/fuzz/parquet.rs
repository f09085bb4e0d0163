//! Parquet tables.

use super::data::load;
use super::mutate::Grammar;
use super::runner::{file, fuzz};
use parquet::basic::{Compression, ZstdLevel};
use parquet::data_type::{ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use std::sync::Arc;

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn parquet() {
    let fixture = include_bytes!("../../fixtures/data/rows.parquet").to_vec();
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).unwrap());
    let corpus = vec![fixture, table(Compression::UNCOMPRESSED), table(Compression::SNAPPY), table(zstd)];
    fuzz("fuzz::parquet::parquet", Grammar::Parquet, corpus, |bytes, folder| {
        load(&file(folder, "rows.parquet", bytes), bytes)
    });
}

/// Three rows: a question, an answer that may be missing, choices, a figure.
fn table(compression: Compression) -> Vec<u8> {
    const SCHEMA: &str = "message rows {
        required binary question (UTF8);
        optional int64 answer;
        optional group choices (LIST) { repeated group list { optional binary element (UTF8); } }
        required double figure;
    }";
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut rows = writer.next_row_group().unwrap();
    let texts = |texts: &[&str]| texts.iter().map(|text| ByteArray::from(*text)).collect::<Vec<_>>();
    let mut column = rows.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&texts(&["1+1?", "2+2?", "3+3?"]), None, None).unwrap();
    column.close().unwrap();
    let mut column = rows.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[2, 6], Some(&[1, 0, 1]), None).unwrap();
    column.close().unwrap();
    let mut column = rows.next_column().unwrap().unwrap();
    let choices = texts(&["2", "3", "4"]);
    column.typed::<ByteArrayType>().write_batch(&choices, Some(&[3, 3, 3, 0]), Some(&[0, 1, 0, 0])).unwrap();
    column.close().unwrap();
    let mut column = rows.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[0.5, -1.0, 1e300], None, None).unwrap();
    column.close().unwrap();
    rows.close().unwrap();
    writer.into_inner().unwrap()
}
