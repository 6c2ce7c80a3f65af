"""The black-box test for bias: does a loss give the training shares back without signal?"""
