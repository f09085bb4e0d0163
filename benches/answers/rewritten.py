"""How many copies of a question that asks for a form `reward.answer` takes for an answer when they are rewritten blindly.

usage: rewritten.py TRAIN      (pip install math-verify, which agreement.py imports)
"""
import pathlib, sys
from agreement import program

# What is asked, the gold answer, and what has its value in another form, most of it in the question.
ASKED = [
    ("Simplify the fraction 84/144.","\\frac{7}{12}",["84/144","\\frac{84}{144}","84 \\div 144","168/288","0 84/144","84 : 144","42/72","84 out of 144","eighty-four over 144"]),
    ("Factor $x^2-5x+6$.","(x-2)(x-3)",["x^2-5x+6","6-5x+x^2","x^2-2x-3x+6","x(x-5)+6","x^2-(5x-6)"]),
    ("Factor $3x^2+6x$ completely.","3x(x+2)",["3x^2+6x","6x+3x^2","3(x^2+2x)","x(3x+6)","3xx+6x"]),
    ("Factor $x^2-9$.","(x+3)(x-3)",["x^2-9","x^2-3^2","-9+x^2","-(9-x^2)"]),
    ("Simplify $\\sqrt{180}$.","6\\sqrt5",["\\sqrt{180}","\\sqrt{720}/2","180^{1/2}","180^{0.5}","3\\sqrt{20}","\\sqrt{36\\cdot5}","\\sqrt{36}\\sqrt5","2\\sqrt{45}"]),
    ("Write 0.35 as a fraction.","\\frac{7}{20}",["0.35",".35","0,35","35%","3.5e-1","35/100","35 \\times 10^{-2}","0.350","35\\%","thirty-five hundredths","3.5/10","0 35/100","3.5 \\times 10^{-1}"]),
    ("Write 45% as a fraction in lowest terms.","\\frac{9}{20}",["45%","45 percent","45 per cent","forty-five percent","45/100","0.45","45\\%","45 hundredths"]),
    ("Write 24 as a product of primes.","2^3 \\cdot 3",["24","4 \\cdot 6","2\\cdot12","24^1","1\\cdot24","8\\cdot 3","twenty-four","two dozen","24 \\cdot 10^0","(2^3)(3)(1)"]),
    ("Write 1024 as a power of 2.","2^{10}",["1024","4^5","32^2","1024^1","2\\cdot512","2^9 \\cdot 2"]),
    ("Write 1200 in scientific notation.","1.2 \\times 10^3",["1200","1,200","12 hundred","1.2 thousand","12 \\times 10^2","1200 \\times 10^0","0.12\\times 10^4","1200e0","12e2","120\\times10^1","1200.0","twelve hundred"]),
    ("Write 25/2 as a mixed number.","12 \\frac12",["25/2","12.5","50/4","\\frac{25}{2}","12,5","12 2/4","12 + 1/2","twenty-five halves","25 halves"]),
    ("Convert 5 km to metres.","5000 m",["5 km","five km","5 km 0 m","5 kilometres","5.0 km","500000 cm","5 kilometers","5 \\text{ km}","0.005 Mm"]),
    ("Express 2 hours in minutes.","120 minutes",["2 hours","two hours","2 h","2 hours and 0 minutes","7200 seconds","2 hr"]),
    ("How many minutes are there in 2 hours?","120 minutes",["2 hours","two hours","2 h"]),
    ("Change 5 km to metres.","5000 m",["5 km","five km"]),
    ("Sort these numbers: 9, 3, 7 in ascending order.","3, 7, 9",["9, 3, 7","9, 7, 3","7, 3, 9","9; 3; 7","9, 3 and 7","\\{9,3,7\\}","9,3,7","9 3 7","9 > 3 > 7"]),
    ("Order 9, 3, 7 from least to greatest.","3, 7, 9",["9, 3, 7","7, 3, 9","9 and 3 and 7"]),
    ("List A, B, C in order from smallest to largest.","B, C, A",["A, B, C","C, B, A","A; B; C"]),
    ("Put $1/2, 1/3$ in order.","1/3, 1/2",["1/2, 1/3","0.5, 1/3"]),
    ("Express $\\sin 2x$ in terms of $\\sin x$ and $\\cos x$.","2\\sin x\\cos x",["\\sin(2x)","\\sin 2x","\\sin(x\\cdot 2)","\\sin(x+x)"]),
    ("Expand $\\log 6$.","\\log 2+\\log 3",["\\log 6","\\log(6)","\\log(2\\cdot3)"]),
    ("What is the prime factorization of 24?","2^3 \\cdot 3",["24","4\\cdot 6"]),
    ("What is 1200 in scientific notation?","1.2 \\times 10^3",["1200"]),
    ("Write $2x+3y=6$ in slope-intercept form.","y = -\\frac{2}{3}x+2",["2x+3y=6","3y=6-2x","2x+3y-6=0","6=2x+3y","4x+6y=12"]),
    ("Rationalize the denominator of $\\frac{1}{\\sqrt3}$.","\\frac{\\sqrt3}{3}",["\\frac{1}{\\sqrt3}","1/\\sqrt3","\\sqrt{1/3}","\\frac{2}{\\sqrt{12}}","\\sqrt{\\frac13}"]),
    ("Write 7/20 as a decimal.","0.35",["7/20","14/40","35%","\\frac{7}{20}"]),
    ("Write 7/20 as a percent.","35\\%",["7/20","0.35","14/40"]),
    ("Simplify $i^7$.","-i",["i^7","i^3","1/i","i^{-1}","i^{11}"]),
    ("Expand $(x+1)(x+2)$.","x^2+3x+2",["(x+1)(x+2)","(x+2)(x+1)","x(x+2)+(x+2)","x^2+2x+x+2"]),
    ("Convert $5 to cents.","500 cents",["$5","\\$5","5 dollars","five dollars"]),
    ("Simplify $2(x+3)+4x$.","6x+6",["2(x+3)+4x","2x+6+4x","2(3x+3)"]),
    ("Simplify $\\frac{6x^2}{3x}$.","2x",["\\frac{6x^2}{3x}","6x/3","\\frac{4x}{2}"]),
    ("Evaluate $\\frac{8!}{6!}$.","56",["\\frac{8!}{6!}","8\\cdot7","8!/6!"]),
    ("Round 3.14159 to two places, written as a decimal","3.14",["3.14159"]),
    ("Express the ratio 84:144 in simplest form.","7:12",["84:144","168:288","42:72","84/144"]),
    ("Simplify the ratio 84 to 144.","7:12",["84:144","84 to 144","14:24"]),
    ("Express 0.000012 in scientific notation.","1.2 \\times 10^{-5}",["0.000012","12 \\times 10^{-6}","0.12\\times10^{-4}"]),
    ("Write the complex number in the form a+bi: (1+i)^2+1","1+2i",["(1+i)^2+1","(1+i)(1+i)+1"]),
]
# Ways to write anything that leave its value what it is, and some that do not.
WAYS = [
    "%s", "+%s", "(%s)", "1(%s)", "%s\\cdot1", "1\\cdot %s", "%s+0", "0+%s", "(%s)^1", "(%s)^{1}", "\\frac{%s}{1}", "-(-(%s))", "|%s|",
    "\\sqrt{(%s)^2}", "%s = %s", "x = %s", "%s \\text{ units}", "%s, %s", "%s or %s", "\\left(%s\\right)", "[%s]", "\\{%s\\}", "{%s}",
    "%s \\approx %s", "\\frac{2(%s)}{2}", "(%s)/1", "\\text{%s}", "\\ln e^{%s}", "%s - 0", "\\mathrm{%s}", "$%s$", "**%s**", "(%s)(1)",
    "(%s) \\cdot 100\\%%", "%s \\cdot \\frac22", "\\frac{1}{2} \\cdot 2(%s)", "(%s)!^0", "\\boxed{%s}", "f(x) = %s", "the answer %s",
    "%s exactly", "y = %s", "%s (simplified)", "\\displaystyle %s", "2 \\cdot \\frac{%s}{2}", "\\frac{%s}{2}+\\frac{%s}{2}",
]


def main(train):
    rows, questions = [], []
    for question, gold, copies in ASKED:
        written = [way % ((copy,) * way.replace("%%", "").count("%s")) for copy in copies for way in WAYS]
        for kind, answer in [("gold", gold)] + [("copy", answer) for answer in written]:
            rows.append(("", kind, "", "So $\\boxed{%s}$." % answer, gold, None))
            questions.append(question)
    verdicts = program(str(pathlib.Path(train).resolve()), rows, questions)
    for kind in ("copy", "gold"):
        of_kind = [right for row, right in zip(rows, verdicts) if row[1] == kind]
        print(f"{kind}: {sum(of_kind)} of {len(of_kind)} accepted")


if __name__ == "__main__":
    main(*sys.argv[1:])
