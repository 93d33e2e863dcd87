(function(d,w,n,s){
if(!s)return;
var b=s.src.replace(/\/page\.js.*/,''),h=b.replace(/\/s\/([^\/]+)$/,'/go/$1/'),
q=new URLSearchParams(location.search),x=n.doNotTrack=='1'||w.doNotTrack=='1'||n.globalPrivacyControl,
i=Math.random()+'-'+Date.now(),t=performance.now(),a=0,y=0,f=1,k=[],e=[],l='',c='';
function g(v){try{return v?localStorage.setItem('cf_click',v):localStorage.getItem('cf_click')||''}catch(_){return''}}
function u(){d.querySelectorAll('a').forEach(function(m){var z=m.dataset.offer;
if(z)m.href=h+encodeURIComponent(z)+(c?'?click='+c:'');else if(c)m.href=m.href.replace(/(%7B|{)click_id(%7D|})/gi,c)})}
function p(){if(x||!n.sendBeacon)return;
var v=d.visibilityState=='visible',j={i:i,c:c,r:d.referrer.slice(0,300),m:Math.round(a+(v?performance.now()-t:0)),s:y,k:k,e:e};
if(JSON.stringify(j)!=l){l=JSON.stringify(j);j.n=f;if(n.sendBeacon(b+'/b',JSON.stringify(j)))f=0}}
function z(){var r=d.documentElement,o=r.scrollHeight-w.innerHeight;y=Math.max(y,o>0?Math.min(100,Math.round(w.scrollY/o*100)):100)}
function r(v){c=/^\w{1,32}$/.test(v)?v:'';if(c&&!x)g(c);d.readyState=='loading'?d.addEventListener('DOMContentLoaded',u):u();z();setTimeout(p,99)}
w.casinoflux=function(v){v=String(v).slice(0,40);if(e.length<30&&e.indexOf(v)<0){e.push(v);p()}};
d.addEventListener('visibilitychange',function(){if(d.visibilityState=='visible')t=performance.now();else{a+=performance.now()-t;p()}});
w.addEventListener('pagehide',p);w.addEventListener('scroll',z,{passive:true});
d.addEventListener('click',function(v){var o=v.target.closest&&v.target.closest('a[data-offer]');if(o){k.push(o.dataset.offer);p()}},true);
var m=s.dataset.campaign||q.get('campaign'),v=q.get('click')||(m&&location.search?'':g());
if(v||!m)r(v);else fetch(b.replace(/\/s\/[^\/]+$/,'/c/')+encodeURIComponent(m)+location.search,{headers:{Accept:'application/json'},credentials:'omit'})
.then(function(o){return o.json()}).then(function(o){r(o.click)},function(){r(g())})
})(document,window,navigator,document.currentScript)
