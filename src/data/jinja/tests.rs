//! What templates give, and where they end.

use super::*;

fn of(source: &str) -> Result<String, String> {
    let known = json!({"a": "naïve text", "n": 3, "list": ["x", "y"], "inner": {"at": "z"}});
    Jinja::from(source).render(known.as_object().unwrap()).map_err(|error| format!("{error:#}"))
}

/// The looks change nothing of what a template writes: each beside what Jinja gives for it without them.
#[test]
fn what_fits_is_written_as_it_would_be() {
    let known = json!({"a": "naïve text", "n": 3, "list": ["x", "y"], "inner": {"at": "z"}});
    let mut plain = plain();
    plain.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    for source in [
        "{{ a ~ '|' ~ n + 1 ~ a | upper }}",
        "{{ a[1:3] }}{{ a[:] }}{{ a[::2] }}{{ a[:2] ~ a[-2:] }}{{ list[(0):(1)] }}",
        "{% if a == 'x' ~ 'y' or n in [1, 2 + 1] and not a is none %}yes{% else %}no{% endif %}",
        "{% if 1 < n <= 3 %}{{ n * 2 }}{{ 'ab' * n }}{% endif %}{{ n is divisibleby 3 }}{{ n is not odd }}",
        "{% filter upper | replace('A', 'b') %}{{ a }}\n{% endfilter %}\n",
        "{% set both %}{{ a }}{{ n }}{% endset %}{{ both | indent(2, true) }}{{ list | join(', ') }}",
        "{%- for x in list | reverse if x != 'q' -%} {{ loop.index }}{{ x }} {%- endfor -%}",
        "{{ {'k': [a, n]} | tojson }}{{ list | map('upper') | list }}{{ '%s-%03d' | format(a, n) }}",
        "{{ list | batch(2) | list }}{{ a.split(' ')[1] }}{{ a.replace('n', 'm') }}{{ inner.at | default('q') }}",
        "{% macro twice(x) %}{{ x ~ x }}{% endmacro %}{{ twice(a) }}{{ (a if n > 2 else 'b')[0:1] }}",
        "{% set p, q = list[:] %}{{ p ~ q }}{% set t = a if n else list[1:] %}{{ t }}{{ list[0 if n else 1:] | first }}",
        "{{ [1, 2][0] }}{{ {'k': [a, n]}['k'][1] }}{{ {'k': 1}.items() | list }}{{ (list + [n])[-1] }}{{ [a[:2], list[1:]] }}",
        "{% set s = namespace(t=list[1:]) %}{% set s.t = s.t + [n] if n else [] %}{{ s.t | length }}{{ s.t }}",
        "{% for x in list[:] or [a] %}{{ x }}{% endfor %}{% for x in list if x in ['x', n] %}{{ loop.cycle('p', x) }}{% endfor %}",
        "{% macro m(x, y=list[1:]) %}{{ x }}{{ y | first }}{% endmacro %}{{ m(a[:1], y=list if n else a) }}{{ m(missing | default(n)) }}",
        "{{ list is sequence }}{{ list[:] is iterable }}{{ n is in list[:] }}{{ n is in [1, 3] }}{{ dict(k=list[1:]).k | first }}",
        "{% with y = list[::-1] %}{{ y | first }}{{ y[0] }}{% endwith %}{% block b %}{{ [a][0] }}{% endblock %}",
        "{{ list | map(attribute='x', default=n) | list }}{{ list | select('in', ['y']) | list }}{{ a | trim('t') }}{{ list | sort(reverse=true) }}",
        "{{ missing | default('d') }}{{ missing is defined }}{% if missing %}m{% endif %}{{ list | tojson(indent=2) }}",
    ] {
        assert_eq!(of(source), plain.render_str(source, &known).map_err(|e| format!("{e:#}")), "{source}");
    }
}

#[test]
fn what_is_not_there_stays_an_error() {
    for source in [
        "{{ missing | replace('a', 'b') }}",
        "{{ missing ~ 'x' }}",
        "{{ missing | indent(2) }}",
        "{{ missing | upper }}",
        "{{ missing }}",
    ] {
        let said = of(source).unwrap_err();
        assert!(said.contains("undefined value"), "{source}: {said}");
    }
}

#[test]
fn no_text_grows_without_bounds() {
    for source in [
        "{% set x = namespace(t=a) %}{% for i in range(40) %}{% set x.t = x.t ~ x.t %}{% endfor %}",
        "{% set x = namespace(t=[a]) %}{% for i in range(40) %}{% set x.t = x.t + x.t %}{% endfor %}",
        "{% set x = namespace(t=[]) %}{% for i in range(100000) %}{% set x.t = [x.t] %}{% endfor %}",
        "{% set x = a | replace('', a * 99) %}{% set y = x | replace('', x) %}{{ y | replace('', y) }}",
        "{% set x = a * 20000 %}{{ x.replace('n', x) }}",
        "{{ '%10000000000s' | format(a) }}",
        "{{ '%.10000000000f' | format(1.5) }}",
        "{{ a.center(10000000000) }}",
        "{{ a * 1000000 }}",
        "{{ a | indent(10000000000, true) }}",
        "{{ list | tojson(indent=10000000000) }}",
        "{{ list | batch(10000000000, a) | list }}",
        "{{ list | slice(10000000000) | list }}",
        "{% set x = a * 90000 %}{{ [x, x, x, x, x] | join(x) }}",
        "{% set x = a * 90000 %}{{ range(1000) | map('replace', '1', x) | list }}",
        "{% for i in range(100000) %}{{ a * 100 }}{% endfor %}",
    ] {
        let said = of(source).expect_err(source);
        assert!(said.contains("a text of more than 4 MB"), "{source}: {said}");
    }
    let long = of(&format!(
        "{{% for i in range(100000) %}}{{% for j in range(9) %}}{}{{% endfor %}}{{% endfor %}}",
        "x".repeat(9000)
    ));
    assert!(long.unwrap_err().contains("fuel"));
    // It is the longest piece of a template that could be repeated, not its length.
    let short = "x".repeat(9) + &"{# what follows is said once #}".repeat(1500);
    let often = of(&format!("{{% for i in range(90000) %}}{{% endfor %}}{short}"));
    assert_eq!(often.as_deref(), Ok("xxxxxxxxx"));
    // A name that is looked up is gone through each time.
    let name = "na".repeat(900);
    for read in [name.clone(), format!("list.{name}"), format!("list['{name}']")] {
        let looked_up =
            of(&format!("{{% for i in range(99999) %}}{{% if {read} %}}{{% endif %}}{{% endfor %}}"));
        assert!(looked_up.unwrap_err().contains("fuel"));
    }
}

/// What is left of a template's time where so many milliseconds are gone.
fn late(source: &str, taken: u64) -> Jinja {
    let (source, time) = (source.to_string(), bounded::Together::taken(taken));
    Jinja(Arc::new(Text { source, parsed: OnceLock::new(), time }))
}

/// What one instruction does ends too, however much it is given: with a tenth of a second left, each is over soon.
#[test]
fn no_instruction_goes_on_without_end() {
    let known = json!({"a": "naïve text", "n": 3, "list": ["x", "y"]});
    for source in [
        "{% set x = [1] * 9999999999 %}{{ x }}",
        "{% set x = [1] * 99999999 %}{{ x | length }}",
        "{% set x = ([1] * 9999) * 999999 %}{% if x == x %}{% endif %}",
        "{% set x = range(100000) | list %}{% for i in range(100000) %}{% if x == x | reverse | list %}{% endif %}{% endfor %}",
        "{% for i in range(100000) %}{% if range(100000) | list | sort | first %}{% endif %}{% endfor %}",
        "{% for i in range(100000) %}{% if i is in(range(100000) | list) %}{% endif %}{% endfor %}",
        "{{ range(100000) | select('in', range(100000)) | list | length }}",
        "{{ [range(100000)] | map(attribute='x', default=[[1] * 1000] * 1000) | list }}{{ range(9) | map('default') }}",
        "{{ range(100000) | map(attribute='x', default=range(100000)) | list | length }}",
        "{% set t = a * 90000 %}{% for i in range(100000) %}{% if t[-1] %}{% endif %}{% endfor %}",
        "{% set t = a * 90000 %}{% for i in range(100000) %}{% for c in t %}{% break %}{% endfor %}{% endfor %}",
        "{% set t = a * 90000 %}{{ t.strip(t) }}",
        "{% set t = a * 90000 %}{{ t | trim(t) }}",
        "{% set t = a * 90000 %}{% for i in range(100000) %}{% if t.find('q') %}{% endif %}{% endfor %}",
        "{% for i in range(100000) %}{% if loop.changed(range(100000) | list) %}{% endif %}{% endfor %}",
        "{% block b %}{% set x = [1] * 9999999999 %}{{ x }}{% endblock %}",
        "{% set x = namespace(t=1) %}{% for i in range(100000) %}{% set x.t = [[x.t], 1][0] %}{% endfor %}",
        "{% set x = namespace() %}{% set x.y = x %}{{ x }}",
        "{{ a.400000000 }}",
    ] {
        let began = Instant::now();
        let said = late(source, 4_900).render(known.as_object().unwrap()).expect_err(source).to_string();
        let told = ["a text of more than 4 MB", "more than 5 seconds", "a namespace in a", "behind a dot"];
        assert!(told.iter().any(|words| said.contains(words)), "{source}: {said}");
        assert!(began.elapsed().as_secs() < 5, "{source}: {:?}", began.elapsed());
    }
    let sliced = format!("{{{{ list{} }}}}", "[:]".repeat(5_000));
    let began = Instant::now();
    let text = late(&sliced, 4_900).render(known.as_object().unwrap());
    let said = text.map_err(|error| error.to_string());
    assert!(
        said.as_ref().is_ok_and(|text| text.contains("\"y\""))
            || said.is_err_and(|said| said.contains("5 seconds"))
    );
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    for (source, text) in [
        ("{{ a.count('') }}{{ a.count('t') }}", "112"),
        ("{% set x = [] * 9999999999999 %}{{ x | list | length }}", "0"),
        (
            "{% set x = namespace(t=list) %}{% for i in range(9999) %}{% set x.t = x.t[:] %}{% endfor %}{{ x.t[1] }}",
            "y",
        ),
        (
            "{{ [1, 2][0] }}{{ {'k': [a, n]}.k[1] }}{{ (list + [n])[-1] }}{{ {'k': 1}.items() | list | length }}",
            "1331",
        ),
        ("{% for x in list[1:] or a if x %}{{ x }}{% endfor %}{{ (list if n else a)[:1] | first }}", "yx"),
    ] {
        assert_eq!(of(source).as_deref(), Ok(text), "{source}");
    }
}

/// Rows that take long have the time of one together.
#[test]
fn time_is_shared_by_rows() {
    let known = Map::new();
    let endless = "{% set x = range(100000) %}{% for i in x %}{% if x == x | list %}{% endif %}{% endfor %}";
    let template = late(endless, 4_990);
    for copy in [template.clone(), template] {
        assert!(copy.render(&known).unwrap_err().to_string().contains("more than 5 seconds"));
        assert!(copy.0.time.left().is_zero());
    }
    // A machine that stands still for a while now and then takes nothing from those that come long after.
    let short = late("x", 4_000);
    let left = short.0.time.left();
    assert_eq!(short.render(&known).unwrap(), "x");
    assert!(short.0.time.left() > left);
}

/// Parsers go as deep as an expression is long.
#[test]
fn long_expressions_are_read_or_refused() {
    let chain = |count: usize| format!("{{{{ a{} }}}}", "|upper".repeat(count));
    assert_eq!(of(&chain(4_000)).as_deref(), Ok("NAÏVE TEXT"));
    assert_eq!(of(&format!("{{{{ {} a }}}}", "not ".repeat(15_000))).as_deref(), Ok("True"));
    for (source, why) in [
        (chain(20_000), "it has 120007 bytes, and the most is 65536"),
        (format!("{{{{ {}1 }}}}", "-".repeat(2_000)), "it has `-` more than 1000 times in a row"),
    ] {
        let template = Jinja::from(source.as_str());
        assert!(template.check().unwrap_err().to_string().contains(why));
        assert!(template.names().is_err() && of(&source).unwrap_err().contains(why));
        assert!(Condition::from(source.trim_matches(['{', '}'])).check().is_err());
    }
}

/// What one row takes is not taken from the next, and the text is parsed once for all copies.
#[test]
fn each_row_has_the_limits_for_itself() {
    let template = Jinja::from("{% for i in range(n) %}{% for j in range(n) %}x{% endfor %}{% endfor %}");
    let copy = template.clone();
    let over = |template: &Jinja, n: u64| template.render(json!({ "n": n }).as_object().unwrap());
    for _ in 0..2 {
        assert!(over(&template, 2000).unwrap_err().to_string().contains("fuel"));
        assert_eq!(over(&template, 600).unwrap().len(), 360_000);
        assert_eq!(over(&copy, 1).unwrap(), "x");
    }
    assert!(std::ptr::eq(template.parsed().unwrap(), copy.parsed().unwrap()));
    let wrong = Jinja::from("{{ a");
    assert_eq!(wrong.check().unwrap_err().to_string(), wrong.check().unwrap_err().to_string());
}
