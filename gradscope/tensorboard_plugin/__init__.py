"""The Gradscope tab in TensorBoard: it draws what `gradscope.renderers.tensorboard` writes.

TensorBoard dies with a plugin that fails while it is loaded. So `loader` imports next to nothing, and everything else is
imported when the tab asks for it.
"""
