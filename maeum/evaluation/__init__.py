"""How good the models are on clips whose truth is known, and a calibration fitted on such clips.

manifest → predictions (kept in a journal) ─┬→ scores, figures → report
                                            └→ calibration
"""
