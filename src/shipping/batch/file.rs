//! A file of parcels as a spreadsheet writes it: UTF-8 or GBK, its columns in any order and named in English or
//! Chinese, further columns beside them.

use std::borrow::Cow;

use super::BATCH_ROWS_MAX;
use crate::kernel::{Failure, Result};
use crate::shipping::{CSV_ENCODING, CSV_HEADER, CSV_ROWS};

/// No cell that means something is longer.
const CELL_CHARS_MAX: usize = 128;

/// The names that a column goes by, without spaces, underscores and hyphens, in lower case.
const COLUMNS: [&[&str]; 5] = [
    &["order", "orderid", "orderno", "ordernumber", "订单号", "订单编号"],
    &["carrier", "快递公司", "物流公司", "承运商"],
    &["trackingno", "trackingnumber", "tracking", "快递单号", "物流单号", "运单号"],
    &["item", "line", "lineid", "sku", "skuid", "商品", "商品编号"],
    &["quantity", "qty", "数量", "发货数量"],
];
/// How they are called where they are missing.
const NAMES: [&str; 3] = ["order", "carrier", "tracking_no"];

/// A row of the file, as it has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Where it is in the file, counted from 1.
    pub line: i64,
    pub order: String,
    pub carrier: String,
    pub tracking_no: String,
    pub item: String,
    pub quantity: String,
    /// Why it can't be read, if it can't.
    pub malformed: Option<String>,
}

/// Reads the rows of a file; a row that is empty is none.
///
/// # Errors
/// `csv_encoding`, `csv_header`, `csv_rows`.
pub fn parse(bytes: &[u8]) -> Result<Vec<Row>> {
    // One kind of line end, so that lines are counted as an editor counts them.
    let text = decode(bytes)?.replace("\r\n", "\n").replace('\r', "\n");
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let mut records = reader.records();
    let unreadable = |error: csv::Error| Failure::new(&CSV_ENCODING).cause(error);
    let header = records.next().transpose().map_err(unreadable)?.ok_or_else(|| Failure::new(&CSV_HEADER))?;
    let columns = columns(&header)?;
    let mut rows = Vec::new();
    while let Some(record) = records.next() {
        let record = record.map_err(unreadable)?;
        let end = records.reader().position().byte() as usize;
        if record.iter().all(str::is_empty) {
            continue;
        }
        if rows.len() == BATCH_ROWS_MAX {
            return Err(Failure::new(&CSV_ROWS));
        }
        let start = record.position().map_or(0, |position| position.byte() as usize);
        let quotes = text.get(start..end).unwrap_or_default().matches('"').count();
        rows.push(row(&record, line_of(&text, &record), header.len(), columns, quotes % 2 == 1));
    }
    if rows.is_empty() { Err(Failure::new(&CSV_ROWS)) } else { Ok(rows) }
}

/// UTF-8 with or without its mark, or GBK, which spreadsheets in China write.
fn decode(bytes: &[u8]) -> Result<Cow<'_, str>> {
    let refused = || Failure::new(&CSV_ENCODING);
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // What has NUL bytes is UTF-16, or no text at all.
    if bytes.contains(&0) {
        return Err(refused());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Cow::Borrowed(text)),
        Err(_) => {
            encoding_rs::GBK.decode_without_bom_handling_and_without_replacement(bytes).ok_or_else(refused)
        }
    }
}

/// Where each of [`COLUMNS`] is.
type Columns = [Option<usize>; 5];

fn columns(header: &csv::StringRecord) -> Result<Columns> {
    let mut columns = Columns::default();
    for (place, name) in header.iter().enumerate() {
        let name: String = name.chars().filter(|c| !matches!(c, ' ' | '_' | '-')).collect();
        let name = name.to_lowercase();
        let Some(known) = COLUMNS.iter().position(|names| names.contains(&&*name)) else { continue };
        if columns[known].replace(place).is_some() {
            return Err(Failure::new(&CSV_HEADER).detail(format!("Two columns are named like {name}.")));
        }
    }
    let missing: Vec<&str> =
        NAMES.iter().zip(&columns).filter(|(_, place)| place.is_none()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        Ok(columns)
    } else {
        let detail =
            format!("The first row must name the columns; these are missing: {}.", missing.join(", "));
        Err(Failure::new(&CSV_HEADER).detail(detail))
    }
}

/// Where a record is, counted from 1: its position may be on an empty line before it.
fn line_of(text: &str, record: &csv::StringRecord) -> i64 {
    let at = record.position().map_or(0, |position| position.byte() as usize);
    let (before, rest) = text.split_at_checked(at).unwrap_or((text, ""));
    let empty = rest.bytes().take_while(|b| *b == b'\n').count();
    (1 + before.matches('\n').count() + empty) as i64
}

/// `open`: a quote of the record has no other.
fn row(record: &csv::StringRecord, line: i64, width: usize, columns: Columns, open: bool) -> Row {
    let cell = |column: usize| -> String {
        let text = columns[column].and_then(|place| record.get(place)).unwrap_or_default();
        text.chars().filter(|c| !c.is_control()).take(CELL_CHARS_MAX).collect()
    };
    let beyond = record.iter().skip(width).any(|cell| !cell.is_empty());
    let misfits = beyond || record.len() < width;
    let read = || columns.iter().flatten().filter_map(|place| record.get(*place));
    let controls = |cell: &str| cell.chars().any(char::is_control);
    // A quote that is left open swallows the cells behind it, and the rows: that is what is wrong, not their number.
    let malformed = if misfits && (open || record.iter().any(controls)) {
        Some("The row ends in the middle of a cell: is a quote left open?".to_owned())
    } else if misfits {
        Some(format!("The row has {} cells, and the first row {width}.", record.len()))
    } else if read().any(controls) {
        Some("A cell has a line break or another control character in it: is a quote left open?".to_owned())
    } else if read().any(|cell| cell.chars().count() > CELL_CHARS_MAX) {
        Some(format!("A cell has more than {CELL_CHARS_MAX} characters."))
    } else {
        None
    };
    Row {
        line,
        order: cell(0),
        carrier: cell(1),
        tracking_no: cell(2),
        item: cell(3),
        quantity: cell(4),
        malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Row> {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn columns_come_in_any_order_under_any_of_their_names_beside_others() {
        let file = "备注,快递单号,订单号,快递公司\r\n急,7311,ord_1, 中通快递 \r\n";
        let row = &rows(file)[0];
        assert_eq!(
            (row.line, &*row.order, &*row.carrier, &*row.tracking_no),
            (2, "ord_1", "中通快递", "7311")
        );
        assert_eq!((&*row.item, &*row.quantity), ("", ""));
        assert_eq!(rows("Order ID,Carrier,Tracking-No,SKU,Qty\nord_1,SF,1,sku_1,2\n")[0].quantity, "2");
    }

    #[test]
    fn utf8_with_its_mark_and_gbk_are_read_and_anything_else_is_refused() {
        let text = "订单号,快递公司,快递单号\nord_1,顺丰速运,1\n";
        let expected = rows(text);
        let marked = [b"\xef\xbb\xbf", text.as_bytes()].concat();
        assert_eq!(parse(&marked).unwrap(), expected);
        let gbk = encoding_rs::GBK.encode(text).0;
        assert_ne!(&*gbk, text.as_bytes());
        assert_eq!(parse(&gbk).unwrap(), expected);
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(parse(&utf16).unwrap_err().is(&CSV_ENCODING));
        assert!(parse(b"order,carrier,tracking_no\n\xff\xff,a,b\n").unwrap_err().is(&CSV_ENCODING));
    }

    #[test]
    fn lines_are_counted_as_an_editor_counts_them_and_empty_ones_are_skipped() {
        let file = "order,carrier,tracking_no\n\nord_1,SF,1\n,,\n\"ord_2\",SF,2";
        for file in [file.to_owned(), file.replace('\n', "\r\n"), file.replace('\n', "\r")] {
            let lines: Vec<i64> = rows(&file).iter().map(|row| row.line).collect();
            assert_eq!(lines, [3, 5]);
        }
    }

    #[test]
    fn a_row_that_does_not_fit_the_first_one_is_malformed() {
        let head = "order,carrier,tracking_no\n";
        for broken in ["ord_1,SF\n", "ord_1,SF,1,2\n", "\"ord_1,SF,1\nord_2,SF,2\n"] {
            assert!(rows(&format!("{head}{broken}"))[0].malformed.is_some(), "{broken}");
        }
        // Whatever comes of a quote that is left open, in the last row as in any other.
        for open in ["\"ord_1,SF,1\n", "ord_1,\"SF,1\nord_2,SF,2\n"] {
            let why = rows(&format!("{head}{open}"))[0].malformed.clone();
            assert!(why.as_ref().is_some_and(|why| why.contains("quote")), "{open}: {why:?}");
        }
        assert!(
            rows(&format!("{head}ord_1,\"SF\"\n"))[0]
                .malformed
                .as_ref()
                .is_some_and(|why| why.contains("2 cells"))
        );
        let long = format!("{head}ord_1,SF,{}\n", "1".repeat(CELL_CHARS_MAX + 1));
        assert!(rows(&long)[0].malformed.is_some());
        assert!(rows(&format!("{head}ord_1,SF,1,,\n"))[0].malformed.is_none());
    }

    #[test]
    fn a_file_without_its_columns_or_without_rows_is_refused() {
        for (file, code) in [
            ("", &CSV_HEADER),
            ("ord_1,SF,1\n", &CSV_HEADER),
            ("order,carrier\nord_1,SF\n", &CSV_HEADER),
            ("order,order,carrier,tracking_no\n", &CSV_HEADER),
            ("order,carrier,tracking_no\n", &CSV_ROWS),
            ("order,carrier,tracking_no\n,,\n", &CSV_ROWS),
        ] {
            assert!(parse(file.as_bytes()).unwrap_err().is(code), "{file}");
        }
        let row = "ord_1,SF,1\n";
        let file = |rows: usize| format!("order,carrier,tracking_no\n{}", row.repeat(rows));
        assert_eq!(rows(&file(BATCH_ROWS_MAX)).len(), BATCH_ROWS_MAX);
        assert!(parse(file(BATCH_ROWS_MAX + 1).as_bytes()).unwrap_err().is(&CSV_ROWS));
    }
}
