//! Holds a JSON body against its own OpenAPI schema, and names the first place that does not fit.

use std::sync::LazyLock;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef, Registry};
use serde_json::Value;

use crate::kernel::Moment;

/// Where a body does not fit, and why.
pub struct Misfit {
    /// JSON pointer (RFC 6901); empty for the body itself.
    pub pointer: String,
    pub detail: String,
}

fn misfit(pointer: &str, detail: impl Into<String>) -> Result<(), Misfit> {
    Err(Misfit { pointer: pointer.to_owned(), detail: detail.into() })
}

/// Checks `value` against `schema`, whose references are in `registry`.
pub fn check(value: &Value, schema: &MetaSchemaRef, registry: &Registry) -> Result<(), Misfit> {
    at("", value, schema, registry)
}

fn at(pointer: &str, value: &Value, schema: &MetaSchemaRef, registry: &Registry) -> Result<(), Misfit> {
    let schema = match schema {
        MetaSchemaRef::Inline(schema) => schema.as_ref(),
        MetaSchemaRef::Reference(name) => match registry.schemas.get(name) {
            Some(schema) => schema,
            None => return Ok(()),
        },
    };
    for part in &schema.all_of {
        at(pointer, value, part, registry)?;
    }
    if !schema.enum_items.is_empty() && !schema.enum_items.contains(value) {
        let words: Vec<String> =
            schema.enum_items.iter().map(|word| word.to_string().replace('"', "")).collect();
        return misfit(pointer, format!("must be one of {}", words.join(", ")));
    }
    match (schema.ty, value) {
        ("object", Value::Object(_)) => object(pointer, value, schema, registry),
        ("array", Value::Array(_)) => array(pointer, value, schema, registry),
        ("string", Value::String(text)) => string(pointer, text, schema),
        ("integer", Value::Number(number)) => match number.as_i64() {
            Some(number) => range(pointer, number as f64, schema),
            None => misfit(pointer, "must be a whole number"),
        },
        ("number", Value::Number(number)) => range(pointer, number.as_f64().unwrap_or(f64::NAN), schema),
        ("boolean", Value::Bool(_)) | ("", _) => Ok(()),
        (expected, _) => misfit(pointer, format!("must be {}", with_article(expected))),
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "integer" => "a whole number".to_owned(),
        "boolean" => "true or false".to_owned(),
        "array" | "object" => format!("an {kind}"),
        other => format!("a {other}"),
    }
}

fn object(pointer: &str, value: &Value, schema: &MetaSchema, registry: &Registry) -> Result<(), Misfit> {
    for name in &schema.required {
        if value.get(name).is_none() {
            return misfit(&format!("{pointer}/{name}"), "is required");
        }
    }
    for (name, property) in &schema.properties {
        if let Some(inner) = value.get(name) {
            at(&format!("{pointer}/{name}"), inner, property, registry)?;
        }
    }
    Ok(())
}

fn array(pointer: &str, value: &Value, schema: &MetaSchema, registry: &Registry) -> Result<(), Misfit> {
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    if schema.max_items.is_some_and(|max| items.len() > max) {
        return misfit(pointer, format!("must have at most {} items", schema.max_items.unwrap_or_default()));
    }
    if schema.min_items.is_some_and(|min| items.len() < min) {
        return misfit(pointer, format!("must have at least {} items", schema.min_items.unwrap_or_default()));
    }
    if schema.unique_items == Some(true)
        && items.iter().enumerate().any(|(i, item)| items[..i].contains(item))
    {
        return misfit(pointer, "must not name the same thing twice");
    }
    if let Some(item) = &schema.items {
        for (index, inner) in items.iter().enumerate() {
            at(&format!("{pointer}/{index}"), inner, item, registry)?;
        }
    }
    Ok(())
}

fn string(pointer: &str, text: &str, schema: &MetaSchema) -> Result<(), Misfit> {
    let length = text.chars().count();
    if let Some(max) = schema.max_length.filter(|max| length > *max) {
        return misfit(pointer, format!("must have at most {max} characters"));
    }
    if let Some(min) = schema.min_length.filter(|min| length < *min) {
        return misfit(pointer, format!("must have at least {min} characters"));
    }
    if text.contains('\0') {
        return misfit(pointer, "must not contain a NUL character");
    }
    if schema.format == Some("date-time")
        && let Err(why) = text.parse::<Moment>()
    {
        return misfit(pointer, why);
    }
    if schema.format == Some("date") && jiff::civil::Date::strptime("%Y-%m-%d", text).is_err() {
        return misfit(pointer, "must be a date like 2026-10-01");
    }
    match schema.pattern.as_deref() {
        Some(pattern) if !matches(pattern, text) => misfit(pointer, format!("must match {pattern}")),
        _ => Ok(()),
    }
}

/// Compiled patterns: as many as the schemas have.
fn matches(pattern: &str, text: &str) -> bool {
    use std::collections::HashMap;
    use std::sync::RwLock;
    static COMPILED: LazyLock<RwLock<HashMap<String, regex::Regex>>> = LazyLock::new(RwLock::default);
    if let Ok(compiled) = COMPILED.read()
        && let Some(regex) = compiled.get(pattern)
    {
        return regex.is_match(text);
    }
    let Ok(regex) = regex::Regex::new(pattern) else { return false };
    let fits = regex.is_match(text);
    if let Ok(mut compiled) = COMPILED.write() {
        compiled.insert(pattern.to_owned(), regex);
    }
    fits
}

fn range(pointer: &str, number: f64, schema: &MetaSchema) -> Result<(), Misfit> {
    if let Some(max) = schema.maximum {
        let exclusive = schema.exclusive_maximum == Some(true);
        if number > max || (exclusive && number >= max) {
            return misfit(pointer, format!("must be {} {max}", if exclusive { "below" } else { "at most" }));
        }
    }
    if let Some(min) = schema.minimum {
        let exclusive = schema.exclusive_minimum == Some(true);
        if number < min || (exclusive && number <= min) {
            return misfit(
                pointer,
                format!("must be {} {min}", if exclusive { "above" } else { "at least" }),
            );
        }
    }
    Ok(())
}
