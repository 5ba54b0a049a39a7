"""What a model's developer writes an app with.

``runtime`` declares init, handlers, steppers and models, ``chats`` makes OpenAI's answers of a
handler's words, ``declared`` says what is wrong with one. ``request`` is one call as a handler sees
it, ``inputs`` the type that it gives its input, ``forms`` bodies that are files, and ``form_parts``
how a form is read; ``openapi`` tells what an app takes and gives. ``store`` is what handlers may
keep between calls.
``find_app`` loads the app that a name means, ``model_sizes`` says what its models occupy;
``main_loop`` is where a Potassium app's functions run.
"""
