"""Networks: the head that gives a logit per tag, and where its encoder's weights come from."""
