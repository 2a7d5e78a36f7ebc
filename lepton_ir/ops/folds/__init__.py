"""The canonicalizations that operator classes name, grouped by subject.

Each keeps the type of what it replaces and the value of every element, NaN, infinities and the sign of zero
included; where rounding or one special value changes, the pattern says so.
"""
