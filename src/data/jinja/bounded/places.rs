//! Where a template makes something longer, and where it reads what is long.

use minijinja::Error;
use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, WhitespaceConfig, parse};

/// The filter that looks at what is longer than what it was made of.
pub const LENGTH: &str = "within_bounds";
/// The filter that looks at the time.
pub const TIME: &str = "within_time";

/// Places of a template.
#[derive(Default)]
struct Spans {
    /// What `~`, `+`, `*`, lists and dictionaries give.
    longer: Vec<Span>,
    /// Ends of what is given to something that may read all of a text each time: filters, tests, comparisons, slices.
    read: Vec<(usize, &'static str)>,
}

/// The template with a look at what each `~`, `+`, `*`, list and dictionary gives; `closely` at the time too, wherever all of a text is read.
pub fn looked_at(
    source: &str,
    name: &str,
    whitespace: WhitespaceConfig,
    closely: bool,
) -> Result<String, Error> {
    let mut found = Spans::default();
    statement(&parse(source, name, Default::default(), whitespace)?, &mut found);
    // Where one ends another may begin; ends come first.
    let ends = found.longer.iter().map(|span| (span.end_offset as usize, 0, format!(")|{LENGTH}")));
    let starts = found.longer.iter().map(|span| (span.start_offset as usize, 1, "(".to_string()));
    let read = found.read.iter().filter(|_| closely).map(|(at, what)| (*at, 0, format!("{what}|{TIME}")));
    let mut marks: Vec<(usize, usize, String)> = ends.chain(starts).chain(read).collect();
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

fn end(one: &Expr) -> usize {
    one.span().end_offset as usize
}

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
            let parts = [&x.start, &x.stop, &x.step].into_iter().flatten();
            found.read.push(match parts.clone().next() {
                Some(part) => (end(part), ""),
                // Before the bracket that ends it.
                None => (x.span().end_offset as usize - 1, "none"),
            });
            parts.for_each(|x| expression(x, found));
        }
        Expr::UnaryOp(x) => expression(&x.expr, found),
        Expr::BinOp(x) => {
            expression(&x.left, found);
            expression(&x.right, found);
            match x.op {
                BinOpKind::Add | BinOpKind::Concat | BinOpKind::Mul => found.longer.push(x.span()),
                BinOpKind::Eq
                | BinOpKind::Ne
                | BinOpKind::Lt
                | BinOpKind::Lte
                | BinOpKind::Gt
                | BinOpKind::Gte
                | BinOpKind::In => found.read.push((end(&x.right), "")),
                _ => {}
            }
        }
        Expr::Compare(x) => {
            expression(&x.expr, found);
            x.ops.iter().for_each(|x| {
                expression(&x.expr, found);
                found.read.push((end(&x.expr), ""));
            });
        }
        Expr::IfExpr(x) => {
            expression(&x.test_expr, found);
            expression(&x.true_expr, found);
            x.false_expr.iter().for_each(|x| expression(x, found));
        }
        Expr::Filter(x) => {
            x.expr.iter().for_each(|x| expression(x, found));
            arguments(&x.args, found);
            found.read.push((x.span().end_offset as usize, ""));
        }
        Expr::Test(x) => {
            expression(&x.expr, found);
            arguments(&x.args, found);
            found.read.push((x.span().end_offset as usize, ""));
        }
        Expr::GetAttr(x) => expression(&x.expr, found),
        Expr::GetItem(x) => {
            expression(&x.expr, found);
            expression(&x.subscript_expr, found);
        }
        Expr::Call(x) => call(x, found),
        Expr::List(x) => {
            x.items.iter().for_each(|x| expression(x, found));
            found.longer.push(x.span());
        }
        Expr::Map(x) => {
            x.keys.iter().chain(&x.values).for_each(|x| expression(x, found));
            found.longer.push(x.span());
        }
        Expr::Var(_) | Expr::Const(_) => {}
    }
}
