//! Where a template makes something longer, reads what is long, or keeps what it has made.

use minijinja::machinery::ast::{BinOpKind, Call, CallArg, Expr, Stmt};
use minijinja::machinery::{Span, WhitespaceConfig, parse};
use minijinja::{Error, ErrorKind};

/// The filter that looks at what is made.
pub const LENGTH: &str = "within_bounds";
/// The filter that looks at the time.
pub const TIME: &str = "within_time";
/// The filter that looks at what a namespace is to hold.
pub const HELD: &str = "within_reach";

/// Indices that are found at once, in a text too.
const NEAR: i64 = 9999;

/// Where a piece of text stands: the place, whether others begin there, and the piece, which may be a filter's name.
type Mark = (usize, bool, &'static str, &'static str);

/// What is written into a template.
struct Looks<'a> {
    source: &'a [u8],
    marks: Vec<Mark>,
    /// Whether something is read far into a text, where no look can stand.
    far: bool,
    /// Bytes of the longest piece of the template's own text, or of a name that it reads.
    longest: usize,
}

/// A template with looks.
pub struct Looked {
    pub source: String,
    /// Bytes of the longest piece that it writes of its own or name that it looks up, without anything that would look at the time.
    longest: usize,
}

impl Looked {
    /// How many instructions it may take: `most`, but not so many that its own text alone, or the names that are looked up, come to more than `raw` bytes.
    pub fn instructions(&self, most: u64, raw: u64) -> u64 {
        most.min((raw / self.longest.max(1) as u64).max(50_000))
    }
}

impl Looks<'_> {
    /// So many bytes that one instruction goes through.
    fn long(&mut self, bytes: usize) {
        self.longest = self.longest.max(bytes);
    }

    /// A filter behind what ends at `at`.
    fn after(&mut self, at: usize, filter: &'static str) {
        self.marks.push((at, false, "|", filter));
    }

    /// A look at the time behind an expression, whichever of its parts are come to.
    fn in_time(&mut self, one: &Expr) {
        if !matches!(one, Expr::Const(_)) {
            self.after(reached(one), TIME);
        }
    }

    /// A look at what `~`, `+` or `*` gives, which nothing follows that would be taken as a part of it.
    fn around(&mut self, span: Span) {
        self.marks.push((span.start_offset as usize, true, "(", ""));
        self.marks.push((span.end_offset as usize, false, ")|", LENGTH));
    }

    /// A look at a list or a dictionary, behind which an index or a call may stand.
    fn enclosing(&mut self, span: Span) {
        self.marks.push((span.start_offset as usize, true, "((", ""));
        self.marks.push((span.end_offset as usize, false, ")|", LENGTH));
        self.marks.push((span.end_offset as usize, false, ")", ""));
    }
}

/// The template with looks: at what each `~`, `+`, `*`, list, dictionary and filter gives and at what is kept of slices and calls, and at the time
/// wherever all of a text or list is read.
pub fn looked_at(source: &str, name: &str, whitespace: WhitespaceConfig) -> Result<Looked, Error> {
    let mut found = Looks { source: source.as_bytes(), marks: Vec::new(), far: false, longest: 0 };
    statement(&parse(source, name, Default::default(), whitespace)?, &mut found);
    if found.far {
        let what = format!("an index of more than {NEAR} behind a dot; write it in brackets");
        return Err(Error::new(ErrorKind::SyntaxError, what));
    }
    // Where one ends another may begin; ends come first, those of what lies inside before those around it.
    let mut marks = found.marks;
    marks.sort_by_key(|(at, begins, ..)| (*at, *begins));
    let (mut out, mut from) = (String::with_capacity(source.len() + 16 * marks.len()), 0);
    for (at, _, mark, filter) in marks {
        out.push_str(source.get(from..at).unwrap_or_default());
        out.push_str(mark);
        out.push_str(filter);
        from = at.max(from);
    }
    out.push_str(source.get(from..).unwrap_or_default());
    Ok(Looked { source: out, longest: found.longest })
}

fn end(one: &Expr) -> usize {
    one.span().end_offset as usize
}

/// The end of the part of an expression that is come to whatever holds, to which a filter that stands there belongs.
fn reached(one: &Expr) -> usize {
    match one {
        Expr::IfExpr(x) => reached(&x.test_expr),
        Expr::BinOp(x) if matches!(x.op, BinOpKind::ScAnd | BinOpKind::ScOr) => reached(&x.left),
        one => end(one),
    }
}

/// A look at what is kept of an expression: what slices and calls give is made when it is read, again and again, and from what they were made of.
fn kept(one: &Expr, found: &mut Looks) {
    match one {
        Expr::IfExpr(x) => {
            kept(&x.true_expr, found);
            x.false_expr.iter().for_each(|x| kept(x, found));
        }
        Expr::BinOp(x) if matches!(x.op, BinOpKind::ScAnd | BinOpKind::ScOr) => {
            kept(&x.left, found);
            kept(&x.right, found);
        }
        Expr::Slice(_) | Expr::Call(_) => found.after(end(one), LENGTH),
        _ => {}
    }
}

/// Whether a namespace gets a value, alone or with others.
fn is_attribute(target: &Expr) -> bool {
    match target {
        Expr::GetAttr(_) => true,
        Expr::List(x) => x.items.iter().any(is_attribute),
        _ => false,
    }
}

/// A look at what a namespace is to hold.
fn held(one: &Expr, found: &mut Looks) {
    match one {
        Expr::IfExpr(x) => {
            held(&x.true_expr, found);
            x.false_expr.iter().for_each(|x| held(x, found));
        }
        Expr::BinOp(x) => match x.op {
            BinOpKind::ScAnd | BinOpKind::ScOr => {
                held(&x.left, found);
                held(&x.right, found);
            }
            BinOpKind::Add | BinOpKind::Mul => found.after(end(one), HELD),
            _ => {}
        },
        Expr::List(x) => x.items.iter().for_each(|x| held(x, found)),
        Expr::Map(x) => x.values.iter().for_each(|x| held(x, found)),
        Expr::Const(_) | Expr::UnaryOp(_) | Expr::Compare(_) | Expr::Test(_) => {}
        one => found.after(end(one), HELD),
    }
}

fn statements(all: &[Stmt], found: &mut Looks) {
    all.iter().for_each(|one| statement(one, found));
}

fn statement(statement: &Stmt, found: &mut Looks) {
    match statement {
        Stmt::Template(x) => statements(&x.children, found),
        Stmt::EmitExpr(x) => expression(&x.expr, found),
        Stmt::EmitRaw(x) => found.long(x.raw.len()),
        Stmt::ForLoop(x) => {
            expression(&x.iter, found);
            found.in_time(&x.iter);
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
            for (_, value) in &x.assignments {
                expression(value, found);
                kept(value, found);
            }
            statements(&x.body, found);
        }
        Stmt::Set(x) => {
            expression(&x.expr, found);
            kept(&x.expr, found);
            if is_attribute(&x.target) {
                held(&x.expr, found);
            }
        }
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
            for default in &x.defaults {
                expression(default, found);
                kept(default, found);
            }
            statements(&x.body, found);
        }
        Stmt::CallBlock(x) => {
            call(&x.call, found);
            statements(&x.macro_decl.body, found);
        }
        Stmt::Do(x) => call(&x.call, found),
        Stmt::Block(x) => statements(&x.body, found),
        Stmt::Extends(x) => expression(&x.name, found),
        Stmt::Include(x) => expression(&x.name, found),
        Stmt::Import(x) => expression(&x.expr, found),
        Stmt::FromImport(x) => expression(&x.expr, found),
        _ => {}
    }
}

fn call(call: &Call, found: &mut Looks) {
    expression(&call.expr, found);
    for argument in arguments(&call.args) {
        expression(argument, found);
        found.in_time(argument);
        kept(argument, found);
    }
}

fn arguments<'a>(all: &'a [CallArg<'a>]) -> impl Iterator<Item = &'a Expr<'a>> {
    all.iter().map(|argument| match argument {
        CallArg::Pos(x) | CallArg::Kwarg(_, x) | CallArg::PosSplat(x) | CallArg::KwargSplat(x) => x,
    })
}

fn expression(one: &Expr, found: &mut Looks) {
    match one {
        Expr::Slice(x) => {
            expression(&x.expr, found);
            let parts = [&x.start, &x.stop, &x.step].into_iter().flatten();
            parts.clone().for_each(|x| expression(x, found));
            match parts.clone().next() {
                Some(part) => found.after(reached(part), TIME),
                // Before the bracket that ends it.
                None => found.marks.push((end(one) - 1, false, "none|", TIME)),
            }
        }
        Expr::UnaryOp(x) => expression(&x.expr, found),
        Expr::BinOp(x) => {
            expression(&x.left, found);
            expression(&x.right, found);
            match x.op {
                BinOpKind::Add | BinOpKind::Concat | BinOpKind::Mul => found.around(x.span()),
                BinOpKind::Eq
                | BinOpKind::Ne
                | BinOpKind::Lt
                | BinOpKind::Lte
                | BinOpKind::Gt
                | BinOpKind::Gte
                | BinOpKind::In => found.after(end(&x.right), TIME),
                _ => {}
            }
        }
        Expr::Compare(x) => {
            expression(&x.expr, found);
            x.ops.iter().for_each(|x| {
                expression(&x.expr, found);
                found.after(end(&x.expr), TIME);
            });
        }
        Expr::IfExpr(x) => {
            expression(&x.test_expr, found);
            expression(&x.true_expr, found);
            x.false_expr.iter().for_each(|x| expression(x, found));
        }
        Expr::Filter(x) => {
            x.expr.iter().for_each(|x| expression(x, found));
            arguments(&x.args).for_each(|x| expression(x, found));
            found.after(end(one), LENGTH);
        }
        Expr::Test(x) => {
            expression(&x.expr, found);
            arguments(&x.args).for_each(|x| expression(x, found));
            found.after(end(one), TIME);
        }
        Expr::GetAttr(x) => {
            expression(&x.expr, found);
            found.long(x.name.len());
        }
        Expr::GetItem(x) => {
            expression(&x.expr, found);
            expression(&x.subscript_expr, found);
            let brackets = found.source.get(end(one) - 1) == Some(&b']');
            match &x.subscript_expr {
                Expr::Const(index)
                    if !index.value.is_number() || matches!(index.value.as_i64(), Some(0..=NEAR)) => {}
                Expr::Const(_) if !brackets => found.far = true,
                index => found.after(reached(index), TIME),
            }
        }
        Expr::Call(x) => call(x, found),
        Expr::List(x) => {
            for item in &x.items {
                expression(item, found);
                kept(item, found);
            }
            found.enclosing(x.span());
        }
        Expr::Map(x) => {
            x.keys.iter().for_each(|x| expression(x, found));
            for value in &x.values {
                expression(value, found);
                kept(value, found);
            }
            found.enclosing(x.span());
        }
        Expr::Var(x) => found.long(x.id.len()),
        Expr::Const(x) => found.long(x.value.as_str().map_or(0, str::len)),
    }
}
