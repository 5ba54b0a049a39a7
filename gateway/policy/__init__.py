"""The policy: from YAML to frozen values, or to every problem that keeps it from being one.

``model`` is what a policy says, of the ``sections/`` that have files of their own; ``reader`` reads
one, over the ``syntax/`` of them all. ``limit_section`` checks limits that stand beside each other,
``schedule_section`` what schedules begin;
``warnings/`` are what is said in vain. ``matching`` says which route a call takes, ``hours``
when hours of the week are; ``json_schema`` makes the schema for editors.
"""
