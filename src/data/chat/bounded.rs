//! What a chat template may take: what makes a text or a list longer is looked at each time, so that none grows without bounds.

use super::MOST;
use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, WhitespaceConfig, parse};
use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State};
use std::cell::Cell;
use std::fmt::Write;

const CHECK: &str = "within_bounds";
/// Columns that a text is padded to.
const WIDEST: i64 = 10_000;

/// Bytes that a list or dictionary may print as, and those that all together may be counted to.
const PRINTED: usize = 1 << 21;
const COUNTED: usize = 1 << 24;

thread_local! {
    static WRITTEN: Cell<usize> = const { Cell::new(0) };
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

/// A conversation begins: nothing of it is written yet.
pub fn begin() {
    WRITTEN.set(0);
    COUNT.set(0);
}

/// Counts what is written; refuses more than fits.
pub fn written(value: &Value) -> Result<(), Error> {
    WRITTEN.set(WRITTEN.get().saturating_add(length(value)));
    if WRITTEN.get() <= MOST { Ok(()) } else { Err(too_much()) }
}

/// The template with a look at what each `~`, `+`, list and dictionary gives.
pub fn source(source: &str) -> Result<String, Error> {
    let syntax = Default::default();
    let whitespace =
        WhitespaceConfig { keep_trailing_newline: false, lstrip_blocks: true, trim_blocks: true };
    let mut found = Vec::new();
    statement(&parse(source, super::NAME, syntax, whitespace)?, &mut found);
    // Where one ends another may begin; ends come first.
    let ends = found.iter().map(|span| (span.end_offset as usize, 0, format!(")|{CHECK}")));
    let starts = found.iter().map(|span| (span.start_offset as usize, 1, "(".to_string()));
    let mut marks: Vec<(usize, usize, String)> = ends.chain(starts).collect();
    marks.sort();
    let (mut out, mut from) = (String::with_capacity(source.len() + 16 * marks.len()), 0);
    for (at, _, mark) in marks {
        out.push_str(source.get(from..at).unwrap_or_default());
        out.push_str(&mark);
        from = at.max(from);
    }
    out.push_str(source.get(from..).unwrap_or_default());
    Ok(out)
}

/// Filters that lengthen, with a look at what comes of it first.
pub fn filters(environment: &mut Environment<'static>) {
    environment.add_filter(CHECK, |value: Value| fits(length(&value)).map(|()| value));
    // None of the models' templates deals a list out, and both fill up without bounds.
    environment.remove_filter("batch");
    environment.remove_filter("slice");
    environment.add_filter("replace", |value: Value, from: String, to: String| {
        replaces(&value, &[Value::from(from.as_str()), Value::from(to.as_str())])?;
        Ok::<_, Error>(value.to_string().replace(&from, &to))
    });
    environment.add_filter("join", |value: Value, joiner: Option<String>| -> Result<Value, Error> {
        joins(&value, joiner.as_deref().unwrap_or_default())?;
        let parts: Vec<String> = value.try_iter()?.map(|item| item.to_string()).collect();
        Ok(Value::from(parts.join(joiner.as_deref().unwrap_or_default())))
    });
    environment.add_filter(
        "indent",
        |text: String, width: Option<usize>, first: Option<bool>, blank: Option<bool>, named: Kwargs| {
            let width = width.or(named.get("width")?).unwrap_or(4);
            let first = first.or(named.get("first")?).unwrap_or(false);
            let blank = blank.or(named.get("blank")?).unwrap_or(false);
            named.assert_all_used()?;
            fits(width.saturating_mul(text.lines().count() + 1).saturating_add(text.len()))?;
            let indented = |(at, line): (usize, &str)| {
                let bare = (at == 0 && !first) || (line.is_empty() && !blank && at > 0);
                if bare { line.to_string() } else { format!("{}{line}", " ".repeat(width)) }
            };
            Ok::<_, Error>(text.split('\n').enumerate().map(indented).collect::<Vec<_>>().join("\n"))
        },
    );
    environment.add_filter("format", |state: &State, text: String, args: Rest<Value>| {
        pads(&text)?;
        minijinja::filters::format(state, &Value::from(text), args)
    });
}

/// Python's methods of texts, lists and dictionaries.
pub fn method(state: &State, value: &Value, name: &str, args: &[Value]) -> Result<Value, Error> {
    match name {
        "replace" => replaces(value, args)?,
        "join" => joins(args.first().unwrap_or(value), value.as_str().unwrap_or_default())?,
        "center" | "ljust" | "rjust" | "zfill" | "expandtabs"
            if args.first().and_then(Value::as_i64).is_some_and(|width| width > WIDEST) =>
        {
            return Err(too_much());
        }
        "format" => pads(value.as_str().unwrap_or_default())?,
        _ => {}
    }
    minijinja_contrib::pycompat::unknown_method_callback(state, value, name, args)
}

fn too_much() -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("it makes a text of more than {} MB", MOST >> 20))
}

fn fits(length: usize) -> Result<(), Error> {
    if length <= MOST { Ok(()) } else { Err(too_much()) }
}

/// Bytes that a value prints as, counted no further than fits.
fn length(value: &Value) -> usize {
    struct Count(usize);
    impl Write for Count {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            self.0 += text.len();
            if self.0 <= PRINTED { Ok(()) } else { Err(std::fmt::Error) }
        }
    }
    match (value.as_str(), value.kind()) {
        (Some(text), _) => text.len(),
        (None, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) => {
            let mut count = Count(0);
            // The error is the count's own.
            let _ = write!(count, "{value}");
            COUNT.set(COUNT.get() + count.0);
            if count.0 > PRINTED || COUNT.get() > COUNTED { MOST + 1 } else { count.0 }
        }
        _ => 24,
    }
}

fn replaces(value: &Value, args: &[Value]) -> Result<(), Error> {
    let [from, to, ..] = args else { return Ok(()) };
    let (from, to) = (length(from).max(1), length(to));
    let times = length(value) / from + 1;
    if to <= from { Ok(()) } else { fits(times.saturating_mul(to)) }
}

fn joins(items: &Value, joiner: &str) -> Result<(), Error> {
    let Ok(items) = items.try_iter() else { return Ok(()) };
    let mut total = 0usize;
    for item in items {
        total = total.saturating_add(length(&item)).saturating_add(joiner.len());
        fits(total)?;
    }
    Ok(())
}

/// Refuses a pattern that pads to great widths: a number of more than four digits.
fn pads(pattern: &str) -> Result<(), Error> {
    let longest = pattern.split(|c: char| !c.is_ascii_digit()).map(str::len).max().unwrap_or(0);
    if longest > 4 { Err(too_much()) } else { Ok(()) }
}

// --- Where a template makes something longer -------------------------------------------------------------------------

type Spans = Vec<Span>;

fn statements(all: &[Stmt], found: &mut Spans) {
    all.iter().for_each(|one| statement(one, found));
}

fn statement(statement: &Stmt, found: &mut Spans) {
    match statement {
        Stmt::Template(x) => statements(&x.children, found),
        Stmt::EmitExpr(x) => expression(&x.expr, found),
        Stmt::ForLoop(x) => {
            expression(&x.iter, found);
            x.filter_expr.iter().for_each(|x| expression(x, found));
            statements(&x.body, found);
            statements(&x.else_body, found);
        }
        Stmt::IfCond(x) => {
            expression(&x.expr, found);
            statements(&x.true_body, found);
            statements(&x.false_body, found);
        }
        Stmt::WithBlock(x) => {
            x.assignments.iter().for_each(|(_, value)| expression(value, found));
            statements(&x.body, found);
        }
        Stmt::Set(x) => expression(&x.expr, found),
        Stmt::SetBlock(x) => {
            x.filter.iter().for_each(|x| expression(x, found));
            statements(&x.body, found);
        }
        Stmt::AutoEscape(x) => statements(&x.body, found),
        Stmt::FilterBlock(x) => {
            expression(&x.filter, found);
            statements(&x.body, found);
        }
        Stmt::Macro(x) => {
            x.defaults.iter().for_each(|x| expression(x, found));
            statements(&x.body, found);
        }
        Stmt::CallBlock(x) => {
            call(&x.call, found);
            statements(&x.macro_decl.body, found);
        }
        Stmt::Do(x) => call(&x.call, found),
        _ => {}
    }
}

fn call(call: &Call, found: &mut Spans) {
    expression(&call.expr, found);
    arguments(&call.args, found);
}

fn arguments(all: &[CallArg], found: &mut Spans) {
    for argument in all {
        match argument {
            CallArg::Pos(x) | CallArg::Kwarg(_, x) | CallArg::PosSplat(x) | CallArg::KwargSplat(x) => {
                expression(x, found)
            }
        }
    }
}

fn expression(one: &Expr, found: &mut Spans) {
    match one {
        Expr::Slice(x) => {
            expression(&x.expr, found);
            [&x.start, &x.stop, &x.step].into_iter().flatten().for_each(|x| expression(x, found));
        }
        Expr::UnaryOp(x) => expression(&x.expr, found),
        Expr::BinOp(x) => {
            expression(&x.left, found);
            expression(&x.right, found);
            if matches!(x.op, BinOpKind::Add | BinOpKind::Concat) {
                found.push(x.span());
            }
        }
        Expr::Compare(x) => {
            expression(&x.expr, found);
            x.ops.iter().for_each(|x| expression(&x.expr, found));
        }
        Expr::IfExpr(x) => {
            expression(&x.test_expr, found);
            expression(&x.true_expr, found);
            x.false_expr.iter().for_each(|x| expression(x, found));
        }
        Expr::Filter(x) => {
            x.expr.iter().for_each(|x| expression(x, found));
            arguments(&x.args, found);
        }
        Expr::Test(x) => {
            expression(&x.expr, found);
            arguments(&x.args, found);
        }
        Expr::GetAttr(x) => expression(&x.expr, found),
        Expr::GetItem(x) => {
            expression(&x.expr, found);
            expression(&x.subscript_expr, found);
        }
        Expr::Call(x) => call(x, found),
        Expr::List(x) => {
            x.items.iter().for_each(|x| expression(x, found));
            found.push(x.span());
        }
        Expr::Map(x) => {
            x.keys.iter().chain(&x.values).for_each(|x| expression(x, found));
            found.push(x.span());
        }
        Expr::Var(_) | Expr::Const(_) => {}
    }
}
