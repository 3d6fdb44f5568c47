//! The shape of the code, and that the documents say what the code does: who imports whom, SQL that runs on
//! SQLite, MySQL and MariaDB alike, the state diagram, the configuration table, the tour.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use minimall::events::{Kind, TOPICS};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every file below `folder` with this ending, relative to the repository.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path.strip_prefix(root()).expect("below the root").display().to_string());
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "no {ending} below {folder}");
    found
}

#[track_caller]
fn assert_none(what: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{what}:\n  {}", violations.join("\n  "));
}

/// Rust without comments, and without what is in text: quotes stay, their content goes.
fn code_only(source: &str) -> String {
    let mut code = String::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").map_or(rest.len(), |end| end + 2)
        } else if next == '"' {
            code.push_str("\"\"");
            end_of_text(rest)
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest[1..].find("'").map_or(rest.len(), |end| end + 2)
        } else {
            code.push(next);
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

/// Where the text that `rest` begins with ends.
fn end_of_text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        match letter {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

fn is_word(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_'
}

/// Every path that begins with `crate::`, its groups taken apart: `crate::a::{b, c::d}` is a::b and a::c::d.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_none_or(|letter| !is_word(letter)) {
            take_apart("", &code[at + "crate::".len()..], &mut paths);
        }
    }
    paths
}

/// Reads one path, or one group of paths, and answers how much of `text` it was.
fn take_apart(prefix: &str, text: &str, paths: &mut Vec<String>) -> usize {
    let name_end = text.find(|letter| !is_word(letter) && letter != ':').unwrap_or(text.len());
    let name = &text[..name_end];
    if !text[name_end..].starts_with('{') {
        paths.push(format!("{prefix}{name}"));
        return name_end;
    }
    let prefix = format!("{prefix}{name}");
    let mut at = name_end + 1;
    while at < text.len() && !text[at..].starts_with('}') {
        if text[at..].starts_with(|letter: char| is_word(letter) || letter == '{') {
            at += take_apart(&prefix, &text[at..], paths).max(1);
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at + 1
}

/// The modules in the order of `pub mod` in lib.rs.
fn order() -> Vec<String> {
    let modules: Vec<String> = code_only(&read("src/lib.rs"))
        .lines()
        .filter_map(|line| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned()))
        .collect();
    assert!(modules.len() > 20, "lib.rs names the modules: {modules:?}");
    modules
}

/// The module that a file belongs to: `src/orders/cancel.rs` to orders.
fn module_of(file: &str) -> &str {
    let path = file.strip_prefix("src/").unwrap_or(file);
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

/// Every path across modules: (file, module, path).
fn imports() -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    for file in files("src", ".rs") {
        let module = module_of(&file).to_owned();
        // main is the program, and uses the library from outside.
        if module == "lib" || module == "main" {
            continue;
        }
        for path in crate_paths(&code_only(&read(&file))) {
            if path.split("::").next() != Some(&module) {
                found.push((file.clone(), module.clone(), path));
            }
        }
    }
    assert!(found.len() > 300, "only {} imports were found", found.len());
    found
}

#[test]
fn a_module_imports_only_from_modules_before_it() {
    let order = order();
    let place = |module: &str| order.iter().position(|name| name == module);
    let mut violations = Vec::new();
    for (file, module, path) in imports() {
        let target = path.split("::").next().unwrap_or_default();
        match (place(&module), place(target)) {
            (Some(own), Some(other)) if other < own => {}
            (Some(_), Some(_)) => violations.push(format!("{file}: crate::{path}")),
            _ => violations.push(format!("{file}: {module} or {target} is no module of lib.rs")),
        }
    }
    assert_none("imports against the order of lib.rs", &violations);
}

#[test]
fn only_app_and_doctor_import_the_sandbox_and_it_imports_nothing_of_the_shop() {
    let mut violations = Vec::new();
    for (file, module, path) in imports() {
        let into = path == "sandbox" || path.starts_with("sandbox::");
        if into && !["app", "doctor"].contains(&module.as_str()) {
            violations.push(format!("{file}: crate::{path}"));
        }
        let allowed = path.starts_with("kernel::") || path.starts_with("platform::crypto");
        if module == "sandbox" && !allowed {
            violations.push(format!("{file}: crate::{path}"));
        }
    }
    assert_none("the sandbox stands apart", &violations);
}

#[test]
fn the_base_knows_only_what_is_below_it() {
    let allowed: HashMap<&str, &[&str]> = HashMap::from([
        ("kernel", &[][..]),
        ("config", &["kernel"][..]),
        ("telemetry", &["kernel", "config"][..]),
        ("events", &["kernel"][..]),
        ("platform", &["kernel", "config", "telemetry", "events"][..]),
        ("wechat", &["kernel", "platform"][..]),
        ("pricing", &["kernel"][..]),
    ]);
    let violations: Vec<String> = imports()
        .into_iter()
        .filter(|(_, module, path)| {
            let target = path.split("::").next().unwrap_or_default();
            allowed.get(module.as_str()).is_some_and(|allowed| !allowed.contains(&target))
        })
        .map(|(file, _, path)| format!("{file}: crate::{path}"))
        .collect();
    assert_none("imports of the base", &violations);
}

#[test]
fn no_module_reaches_into_the_sql_of_another() {
    let violations: Vec<String> = imports()
        .into_iter()
        .filter(|(_, _, path)| path.split("::").skip(1).any(|part| part == "sql"))
        .map(|(file, _, path)| format!("{file}: crate::{path}"))
        .collect();
    assert_none("sql of another module", &violations);
    let public: Vec<String> = files("src", ".rs")
        .into_iter()
        .filter(|file| code_only(&read(file)).contains("pub mod sql"))
        .collect();
    assert_none("sql modules that are not private", &public);
}

#[test]
fn paths_are_found_in_groups_and_not_in_text_or_comments() {
    let source = "use crate::a::{b, c::{D, e}};\n// crate::x::y\nlet t = \"crate::z \\\" crate::z\";\n\
                  fn f() -> crate::g::H { my_crate::i(); crate::j::k::<L>() }";
    let mut paths = crate_paths(&code_only(source));
    paths.sort();
    assert_eq!(paths, ["a::b", "a::c::D", "a::c::e", "g::H", "j::k::"]);
}

/// Reserved in MySQL 8.0 to 8.4 or in MariaDB 10.6 to 11.
const RESERVED: &str = "accessible add all alter analyze and as asc asensitive before between bigint binary blob \
both by call cascade case change char character check collate column condition constraint continue convert \
create cross cube cume_dist current_date current_role current_time current_timestamp current_user cursor \
database databases day_hour day_microsecond day_minute day_second dec decimal declare default delayed delete \
delete_domain_id dense_rank desc describe deterministic distinct distinctrow div do_domain_ids double drop dual \
each else elseif empty enclosed escaped except exists exit explain false fetch first_value float float4 float8 \
for force foreign from fulltext function general generated get grant group grouping groups having \
high_priority hour_microsecond hour_minute hour_second if ignore ignore_domain_ids ignore_server_ids in index \
infile inner inout insensitive insert int int1 int2 int3 int4 int8 integer intersect interval into io_after_gtids \
io_before_gtids is iterate join json_table key keys kill lag last_value lateral lead leading leave left like \
limit linear lines load localtime localtimestamp lock long longblob longtext loop low_priority manual \
master_bind master_heartbeat_period master_ssl_verify_server_cert match maxvalue mediumblob mediumint mediumtext \
middleint minute_microsecond minute_second mod modifies natural no_write_to_binlog not nth_value ntile null \
numeric of offset on optimize optimizer_costs option optionally or order out outer outfile over page_checksum \
parallel parse_vcol_expr partition percent_rank period precision primary procedure purge qualify range rank read \
read_write reads real recursive ref_system_id references regexp release rename repeat replace require resignal \
restrict return returning revoke right rlike row row_number rownum rows schema schemas second_microsecond select \
sensitive separator set show signal slow smallint spatial specific sql sql_big_result sql_calc_found_rows \
sql_small_result sqlexception sqlstate sqlwarning ssl starting stats_auto_recalc stats_persistent \
stats_sample_pages stored straight_join sysdate system system_user table tablesample terminated then tinyblob \
tinyint tinytext to trailing trigger true undo union unique unlock unsigned update usage use using utc_date \
utc_time utc_timestamp values varbinary varchar varcharacter varying vector virtual when where while window with \
write xor year_month zerofill";

/// SQL without its comments, in lower case.
fn migrations() -> Vec<(String, String)> {
    let strip = |sql: String| -> String {
        let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default());
        lines.collect::<Vec<_>>().join("\n").to_lowercase()
    };
    let with_text = |file: String| (file.clone(), strip(read(&file)));
    files("migrations", ".sql").into_iter().map(with_text).collect()
}

/// Names of tables, columns and indexes, and the types of columns.
fn names_and_types(sql: &str) -> (Vec<String>, Vec<String>) {
    let (mut names, mut types) = (Vec::new(), Vec::new());
    for statement in sql.split(';').map(str::trim) {
        let words: Vec<&str> = statement.split(|letter| !is_word(letter)).filter(|w| !w.is_empty()).collect();
        match words.as_slice() {
            ["create", "table", table, ..] => {
                names.push((*table).to_owned());
                let body = statement.split_once('(').map_or("", |(_, body)| body);
                for line in body.lines().map(str::trim) {
                    let mut parts = line.trim_end_matches(',').split_whitespace();
                    match (parts.next(), parts.next()) {
                        (Some("primary" | ")"), _) | (None, _) => {}
                        (Some(name), Some(kind)) => {
                            names.push(name.to_owned());
                            types.push(kind.split('(').next().unwrap_or(kind).to_owned());
                        }
                        (Some(_), None) => {}
                    }
                }
            }
            ["create", "unique", "index", name, ..]
            | ["create", "index", name, ..]
            | ["alter", "table", _, "add", "column", name, ..] => names.push((*name).to_owned()),
            _ => {}
        }
    }
    (names, types)
}

#[test]
fn no_table_or_column_is_a_reserved_word_and_types_are_portable() {
    let reserved: BTreeSet<&str> = RESERVED.split_whitespace().collect();
    let portable = ["bigint", "double", "varchar", "text", "mediumtext"];
    let mut violations = Vec::new();
    let mut count = 0;
    for (file, sql) in migrations() {
        let (names, types) = names_and_types(&sql);
        count += names.len();
        let reserved = names.iter().filter(|name| reserved.contains(name.as_str()));
        violations.extend(reserved.map(|name| format!("{file}: {name} is reserved")));
        let other = types.iter().filter(|kind| !portable.contains(&kind.as_str()));
        violations.extend(other.map(|kind| format!("{file}: a column of type {kind}")));
    }
    assert!(count > 200, "only {count} names were found");
    assert_none("migrations", &violations);
}

/// Does `sql` have these words one after another?
fn has_words(sql: &str, wanted: &str) -> bool {
    let words: Vec<&str> = sql.split(|letter| !is_word(letter)).filter(|word| !word.is_empty()).collect();
    let wanted: Vec<&str> = wanted.split(' ').collect();
    words.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn queries_keep_to_the_portable_subset() {
    let forbidden = "boolean, bool, datetime, timestamp, decimal, json, returning, on conflict, on duplicate, \
                     for update, insert or, replace into, autoincrement, auto_increment, current_timestamp, \
                     strftime, unixepoch, now, is distinct, full join";
    let forbidden: Vec<&str> = forbidden.split(", ").collect();
    let mut looked_at = migrations();
    // The sandbox has a SQLite file of its own, always.
    for file in files("src", ".rs").into_iter().filter(|file| module_of(file) != "sandbox") {
        let all = texts(&read(&file));
        let sql: Vec<String> =
            if has_only_sql(&file) { all } else { all.into_iter().filter(|text| is_sql(text)).collect() };
        if !sql.is_empty() {
            looked_at.push((file, sql.join("\n").to_lowercase()));
        }
    }
    assert!(looked_at.len() > 15, "only {} files have SQL", looked_at.len());
    let mut violations = Vec::new();
    for (file, sql) in &looked_at {
        violations
            .extend(forbidden.iter().filter(|words| has_words(sql, words)).map(|w| format!("{file}: {w}")));
    }
    assert_none("SQL that is not portable", &violations);
}

/// What is in the texts of a Rust file, outside of comments.
fn texts(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = source;
    while let Some(next) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if next == '"' {
            let end = end_of_text(rest);
            found.push(rest[1..end.max(2) - 1].to_owned());
            end
        } else if rest.starts_with("'\"'") {
            3
        } else {
            next.len_utf8()
        };
        rest = &rest[skipped..];
    }
    found
}

/// A file that exists for SQL.
fn has_only_sql(file: &str) -> bool {
    file.contains("/sql/") || file.ends_with("/sql.rs")
}

fn is_sql(text: &str) -> bool {
    ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "].iter().any(|word| text.starts_with(word))
}

#[test]
fn sql_is_only_where_it_belongs() {
    // Invariants are queries and nothing else; the platform's small tables have one file each.
    let at_home = |file: &str| {
        has_only_sql(file)
            || file.ends_with("/invariants.rs")
            || ["platform", "sandbox"].contains(&module_of(file))
    };
    let mut violations = Vec::new();
    for file in files("src", ".rs").into_iter().filter(|file| !at_home(file) && !file.ends_with("tests.rs")) {
        let source = read(&file);
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        // /readyz asks the database whether it answers.
        let found = texts(code).into_iter().filter(|text| is_sql(text) && text != "SELECT 1");
        violations.extend(found.map(|text| format!("{file}: {text}")));
    }
    assert_none("SQL outside of sql.rs", &violations);
}

/// The fenced blocks of a document whose fence says `info`.
fn blocks(document: &str, info: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in document.lines() {
        match &mut open {
            Some(_) if line == "```" => blocks.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line.strip_prefix("```") == Some(info) => open = Some(String::new()),
            None => {}
        }
    }
    assert!(open.is_none(), "a block of {info} is not closed");
    blocks
}

#[test]
fn the_diagram_in_the_architecture_is_the_transition_table() {
    let diagrams = blocks(&read("ARCHITECTURE.md"), "mermaid");
    let diagram = minimall::orders::state::diagram();
    assert!(diagrams.contains(&diagram), "put this into ARCHITECTURE.md:\n{diagram}");
}

#[test]
fn the_architecture_names_the_import_order_of_the_code() {
    let text = read("ARCHITECTURE.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let order = order().join(" < ");
    assert!(text.contains(&order), "put this into ARCHITECTURE.md:\n{order}");
}

#[test]
fn the_files_that_the_architecture_names_exist() {
    let text = read("ARCHITECTURE.md");
    let mut missing = Vec::new();
    let mut count = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        let path = quoted.trim_end_matches('/');
        let is_path =
            path.contains('/') && path.chars().all(|letter| is_word(letter) || "/.-".contains(letter));
        if !is_path || path.starts_with('/') {
            continue;
        }
        count += 1;
        if !root().join(path).exists() && !root().join("src").join(path).exists() {
            missing.push(path.to_owned());
        }
    }
    assert!(count > 20, "only {count} paths were found");
    assert_none("paths in ARCHITECTURE.md", &missing);
}

#[test]
fn the_architecture_says_who_owns_each_table() {
    let document = read("ARCHITECTURE.md");
    let tables = migrations().into_iter().flat_map(|(_, sql)| {
        let names =
            sql.split("create table ").skip(1).map(|rest| rest.split([' ', '(']).next().map(str::to_owned));
        names.flatten().collect::<Vec<_>>()
    });
    let tables: Vec<String> = tables.collect();
    assert!(tables.len() > 30, "only {} tables were found", tables.len());
    let unnamed = |table: &String| !document.contains(&format!("`{table}`"));
    let missing: Vec<String> = tables.into_iter().filter(unnamed).collect();
    assert_none("tables without an owner in ARCHITECTURE.md", &missing);
}

#[test]
fn the_architecture_explains_every_dependency() {
    let manifest = read("Cargo.toml");
    let document = read("ARCHITECTURE.md");
    let mut in_dependencies = false;
    let mut missing = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        } else if let Some((name, _)) = line.split_once(" = ")
            && in_dependencies
            && !document.contains(&format!("`{name}`"))
        {
            missing.push(name.to_owned());
        }
    }
    assert_none("dependencies without a reason in ARCHITECTURE.md", &missing);
}

/// Every key of config.toml with its section, and whether a comment covers it.
fn config_keys() -> Vec<(String, bool)> {
    let text = read("config.toml");
    let (mut section, mut covered) = (String::new(), false);
    let mut keys = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('#') {
            covered = true;
        } else if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((key, _)) = line.split_once(" = ") {
            // A comment covers the keys that stand right below it.
            keys.push((format!("{section}{key}"), covered));
        } else {
            assert!(line.is_empty(), "config.toml: {line}");
            covered = false;
        }
    }
    assert!(keys.len() > 50, "only {} keys were found", keys.len());
    keys
}

#[test]
fn every_key_of_the_configuration_has_a_comment() {
    let bare: Vec<String> =
        config_keys().into_iter().filter(|(_, covered)| !covered).map(|(key, _)| key).collect();
    assert_none("keys of config.toml without a comment", &bare);
}

#[test]
fn the_readmes_name_every_key_of_the_configuration_and_no_other() {
    let keys: BTreeSet<String> = config_keys().into_iter().map(|(key, _)| key).collect();
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = read(readme);
        let table: BTreeSet<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(key, _)| key.to_owned()))
            .filter(|key| key.contains('.') && !key.contains(' ') || key == "mode")
            .collect();
        let missing: Vec<String> = keys.difference(&table).cloned().collect();
        assert_none(&format!("keys that {readme} does not name"), &missing);
        let unknown: Vec<String> = table.difference(&keys).cloned().collect();
        assert_none(&format!("keys that {readme} names and nobody knows"), &unknown);
    }
}

#[test]
fn both_readmes_give_the_same_tour_and_day() {
    for kind in ["bash tour", "bash day"] {
        let english = blocks(&read("README.md"), kind);
        assert!(english.len() > 8, "only {} blocks of \"{kind}\" were found", english.len());
        assert_eq!(english, blocks(&read("README.zh-CN.md"), kind), "{kind}");
    }
}

#[test]
fn what_is_deployed_names_the_topics_keys_and_operations_that_there_are() {
    let mut wrong = Vec::new();
    // The script that makes topics knows each of them, and how its events travel.
    let script = read("deploy/rocketmq/topics.sh");
    let made = script.split('\'').nth(1).unwrap_or_default().lines().filter(|line| !line.is_empty());
    let made: BTreeSet<String> = made.map(str::to_owned).collect();
    let kind = |kind: &Kind| match kind {
        Kind::Normal | Kind::Broadcast => "NORMAL",
        Kind::Fifo => "FIFO",
        Kind::Timed => "DELAY",
        Kind::Half => "TRANSACTION",
    };
    let mut topics: BTreeSet<String> =
        TOPICS.iter().map(|(topic, how)| format!("{topic} {}", kind(how))).collect();
    topics.insert("probe NORMAL".to_owned());
    wrong.extend(topics.symmetric_difference(&made).map(|topic| format!("topics.sh: {topic}")));
    // Variables of the environment are keys of the configuration, operations are in the document.
    let keys: BTreeSet<String> = config_keys().into_iter().map(|(key, _)| key).collect();
    let admin = read("openapi/admin.json");
    let mut count = 0;
    for file in files("deploy", "") {
        let text = read(&file);
        for rest in text.split("MINIMALL__").skip(1) {
            let name: String = rest.chars().take_while(|letter| is_word(*letter)).collect();
            let key = name.to_lowercase().replace("__", ".");
            count += 1;
            if !keys.contains(&key) {
                wrong.push(format!("{file}: MINIMALL__{name} is no key"));
            }
        }
        for rest in text.split("GET /admin").skip(1) {
            let path: String = rest.chars().take_while(|letter| !letter.is_whitespace()).collect();
            let path = format!("\"/admin{}\"", path.trim_end_matches(['.', ',', '"']));
            count += 1;
            if !admin.contains(&path) {
                wrong.push(format!("{file}: there is no {path}"));
            }
        }
    }
    assert!(count > 30, "only {count} names were found");
    assert_none("deploy", &wrong);
}
