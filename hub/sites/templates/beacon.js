(function(d,w,n){
var r=d.documentElement,q=r.dataset;
if(n.doNotTrack=='1'||w.doNotTrack=='1'||n.globalPrivacyControl||!n.sendBeacon)return;
var i=Math.random().toString(36).slice(2)+Date.now().toString(36),a=0,t=performance.now(),s=0,o=[],k=[],l='',
c=(location.search.match(/[?&]click=(\w{1,32})/)||[])[1]||'';
function p(){
var v=d.visibilityState=='visible',b=JSON.stringify({i:i,v:q.look,c:c,r:d.referrer.slice(0,300),m:Math.round(a+(v?performance.now()-t:0)),s:s,o:o,k:k});
if(b!=l)n.sendBeacon(q.base+'/b',l=b)}
function z(){var h=r.scrollHeight-w.innerHeight;s=Math.max(s,h>0?Math.min(100,Math.round(w.scrollY/h*100)):100)}
function x(e){var f=e.target.closest&&e.target.closest('[data-offer]');if(f){k.push(f.dataset.offer);p()}}
d.addEventListener('visibilitychange',function(){if(d.visibilityState=='visible')t=performance.now();else{a+=performance.now()-t;p()}});
w.addEventListener('pagehide',p);w.addEventListener('scroll',z,{passive:true});d.addEventListener('click',x,true);d.addEventListener('auxclick',x,true);
if(w.IntersectionObserver){var y=new IntersectionObserver(function(g){g.forEach(function(e){if(e.isIntersecting){y.unobserve(e.target);o.push(e.target.dataset.offer)}})},{threshold:.5});
d.querySelectorAll('[data-offer]').forEach(function(e){y.observe(e)})}
z();setTimeout(p,600)})(document,window,navigator)
